import fc from "fast-check";
import { expect, test } from "vitest";
import { parseCount, parseFlatKeyed, readControlFile, readCount, UNLIMITED } from "./control-file.js";

const uint64 = fc.bigInt({ min: 0n, max: UNLIMITED });

test("a number of any size, max, and what is no number", () => {
  fc.assert(fc.property(uint64, (n) => parseCount(`${n}\n`) === n));
  expect(parseCount("max\n")).toBe(18446744073709551615n);
  expect(parseCount("-1\n")).toBe(0n);
  expect(parseCount("")).toBe(0n);
});

test("names and numbers come back as they were written", () => {
  const lines = fc.dictionary(fc.stringMatching(/^[a-z_]{1,20}$/), uint64);
  fc.assert(
    fc.property(lines, (values) => {
      const text = Object.entries(values).map(([name, value]) => `${name} ${value}\n`);
      expect(parseFlatKeyed(text.join(""))).toEqual(new Map(Object.entries(values)));
    }),
  );
});

test("a missing file is no number", () => {
  expect(readControlFile("/proc/self", "no-such-file")).toBeUndefined();
  expect(readCount("/proc/self", "no-such-file")).toBe(0n);
});

test("a file that can't be read is an error", () => {
  expect(() => readControlFile("/proc", "self/task")).toThrow("EISDIR");
});
