import { expect, test } from "vitest";
import { startFailed } from "./start-failed.js";

test.each([
  ["the plain output", 'failed 3\0it is "broken"\n\0\u00a0', { status: 3, output: 'it is "broken"\n\0\u00a0' }],
  ["no output", "failed 255\0", { status: 255, output: "" }],
  [
    "an older shim has quoted it",
    String.raw`failed exit status 1: "a \x07\n"`,
    { text: String.raw`exit status 1: "a \x07\n"` },
  ],
])("%s", (_what, message, facts) => {
  expect(startFailed(message)).toMatchObject({ kind: "internal", facts });
});
