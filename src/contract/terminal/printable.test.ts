import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { printable, printableJson } from "./printable.js";

describe("printable", () => {
  test.each([
    ["web-1 ä 漢 🙂", "web-1 ä 漢 🙂"],
    ["a\x1b[2Jb\x07", "a\\u001b[2Jb\\u0007"],
    ["one\ntwo\r\tthree", "one\\ntwo\\r\\tthree"],
    ["\x9b31m", "\\u009b31m"],
    ["abc\u202egpj.exe", "abc\\u202egpj.exe"],
    ["\u2028\u2029\u200b\ufeff", "\\u2028\\u2029\\u200b\\ufeff"],
    ["tag \u{e0001}", "tag \\u{e0001}"],
    ["\ud800 alone", "\\ud800 alone"],
  ])("%j", (text, shown) => expect(printable(text)).toBe(shown));

  test("of any text: no control and no format character is left", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        return !/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(printable(text));
      }),
    );
  });
});

test("JSON still says the same", () => {
  const plain = { a: "x\u202e\u009b1\u{e0001}\x1b" };
  const text = printableJson(JSON.stringify(plain));
  expect(text).toBe('{"a":"x\\u202e\\u009b1\\udb40\\udc01\\u001b"}');
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (value) => {
      return JSON.parse(printableJson(JSON.stringify(value))) === value;
    }),
  );
});
