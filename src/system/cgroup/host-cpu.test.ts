import { expect, test } from "vitest";
import { hostCpuTime, parseHostCpuTime } from "./host-cpu.js";

test("sums the first seven columns, in nanoseconds", () => {
  const text = "cpu  1 2 3 4 5 6 7 80 90 100\ncpu0 1 2 3 4 5 6 7 80 90 100\n";
  expect(parseHostCpuTime(text)).toBe(280_000_000n);
});

test("tells this host's time", () => {
  expect(hostCpuTime()).toBeGreaterThan(0n);
});
