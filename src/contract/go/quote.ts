/**
 * A string in double quotes with the escapes of Go's `%q`: the original prints a runtime's output so, and clients look for words in it.
 * Printable characters stay as they are; to Go, no space but ASCII's is printable.
 */
export function goQuote(text: string): string {
  const quoted = text.replace(/["\\]|[^\P{C}]|(?! )\p{Z}/gu, (character) => {
    const short = SHORT_ESCAPES[character];
    if (short !== undefined) return short;
    const code = character.codePointAt(0)!;
    if (code < 0x80) return `\\x${code.toString(16).padStart(2, "0")}`;
    return code < 0x10000 ? `\\u${code.toString(16).padStart(4, "0")}` : `\\U${code.toString(16).padStart(8, "0")}`;
  });
  return `"${quoted}"`;
}

const SHORT_ESCAPES: Record<string, string> = {
  '"': '\\"',
  "\\": "\\\\",
  "\u0007": "\\a",
  "\b": "\\b",
  "\f": "\\f",
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\v": "\\v",
};

/** The text of what {@link goQuote} or Go's `%q` has made, or what is no such text as it is. */
export function goUnquote(quoted: string): string {
  if (!/^".*"$/s.test(quoted)) return quoted;
  return quoted
    .slice(1, -1)
    .replace(
      /\\(?:x([\da-fA-F]{2})|u([\da-fA-F]{4})|U(00(?:0[\da-fA-F]|10)[\da-fA-F]{4})|(.))/gs,
      (_, byte, short, long, character) => {
        const code = byte ?? short ?? long;
        if (code !== undefined) return String.fromCodePoint(Number.parseInt(code, 16));
        return longEscapes[character] ?? character;
      },
    );
}

const longEscapes = Object.fromEntries(
  Object.entries(SHORT_ESCAPES).map(([character, short]) => [short.slice(1), character]),
);
