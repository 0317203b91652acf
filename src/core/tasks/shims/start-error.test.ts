import { expect, test } from "vitest";
import { startError } from "./start-error.js";

test.each([
  [
    "the plain output is quoted",
    'failed 3\0it is "broken"\n\0\u00a0',
    String.raw`exit status 3: "it is \"broken\"\n\x00\u00a0"`,
  ],
  ["no output", "failed 255\0", 'exit status 255: ""'],
  ["an older shim has quoted it", String.raw`failed exit status 1: "a \x07\n"`, String.raw`exit status 1: "a \x07\n"`],
])("%s", (_what, message, told) => {
  expect(startError(message)).toBe(told);
});
