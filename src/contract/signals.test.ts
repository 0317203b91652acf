import { expect, test } from "vitest";
import { signalNumber } from "./signals.js";

test.each([
  [9, 9],
  ["9", 9],
  ["KILL", 9],
  ["SIGKILL", 9],
  ["sigkill", 9],
  ["Term", 15],
  ["0", 0],
  ["64", 64],
  ["RTMIN", 34],
  ["SIGRTMIN+3", 37],
  ["RTMAX-1", 63],
])("%s is %d", (signal, number) => {
  expect(signalNumber(signal)).toBe(number);
});

test.each(["", "FOO", "65", "-1", "9x", "SIG", "RTMIN+31", "RTMIN-1", "constructor"])("refuses %j", (signal) => {
  expect(() => signalNumber(signal)).toThrow(`unknown signal "${signal}"`);
});
