import { expect, test } from "vitest";
import { goQuote } from "./quote.js";

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
