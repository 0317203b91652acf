import { expect, test } from "vitest";
import { goQuote } from "./go-quote.js";

test.each([
  ["plain", '"plain"'],
  ['a "b" \\c\n\t', '"a \\"b\\" \\\\c\\n\\t"'],
  ["\x1b[0m", '"\\x1b[0m"'],
  ["größe ✓", '"größe ✓"'],
  ["\u200b", '"\\u200b"'],
])("%j", (text, quoted) => {
  expect(goQuote(text)).toBe(quoted);
});
