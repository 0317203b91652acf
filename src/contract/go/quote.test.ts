import { expect, test } from "vitest";
import { goQuote, goUnquote } from "./quote.js";

test.each([
  ["plain", '"plain"'],
  ['a "b" \\c\n\t', '"a \\"b\\" \\\\c\\n\\t"'],
  ["\x1b[0m", '"\\x1b[0m"'],
  ["größe ✓", '"größe ✓"'],
  ["\u200b", '"\\u200b"'],
  ["a b\u00a0c\u2028d\u3000", '"a b\\u00a0c\\u2028d\\u3000"'],
])("%j", (text, quoted) => {
  expect(goQuote(text)).toBe(quoted);
});

test.each(["", "plain", 'a "b" \\ c', "\n\t\u0007\v\u0001\u00a0\u202e\u{10ffff}", "\\n", "é→😀"])(
  "what was quoted can be unquoted: %j",
  (text) => {
    expect(goUnquote(goQuote(text))).toBe(text);
  },
);

test("what is not quoted is left alone", () => {
  expect(goUnquote("a\\nb")).toBe("a\\nb");
});
