/**
 * Characters that a terminal obeys or that change how what follows is shown: controls (C0, DEL, C1: escape sequences begin with them),
 * formats (directions such as U+202E, characters without a width), line and paragraph separators, halves of surrogate pairs.
 */
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

const SHORT_ESCAPES: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/**
 * Text that came from elsewhere (names, a runtime's words) for a line that people read, on a terminal or in a log: one line, whose
 * characters all show themselves. Escapes are those of JSON and JavaScript: `\n`, `\u001b`, `\u{e0001}`.
 */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => SHORT_ESCAPES[character] ?? escapeCodePoint(character));
}

/** A JSON text that means the same, without such characters in its strings. The text has no line breaks. */
export function printableJson(json: string): string {
  return json.replace(UNPRINTABLE, (character) => character.split("").map(escapeUnit).join(""));
}

function escapeCodePoint(character: string): string {
  return character.length === 1 ? escapeUnit(character) : `\\u{${character.codePointAt(0)!.toString(16)}}`;
}

function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
