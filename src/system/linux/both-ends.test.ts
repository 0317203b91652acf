import { expect, test } from "vitest";
import { BothEnds } from "./both-ends.js";

test.each([
  ["nothing", [], ""],
  ["less than is kept", ["ab", "c"], "abc"],
  ["as much as is kept", ["abcd", "efg"], "abcdefg"],
  ["more, in pieces", ["ab", "cdefg", "h", "ijkl"], "abcd\n[5 bytes]\njkl"],
  ["more, at once", ["abcdefghijkl"], "abcd\n[5 bytes]\njkl"],
])("%s", (_what, chunks, text) => {
  const output = new BothEnds(4, 3);
  for (const chunk of chunks) output.append(Buffer.from(chunk));
  expect(`${output}`).toBe(text);
});
