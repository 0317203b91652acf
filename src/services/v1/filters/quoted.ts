/** A quoted text up to its end, escapes and all: as Go writes strings, within any of three characters. */
const QUOTED = /(["/|])(?:\\[^\n]|(?!\1)[^\\\n])*\1/y;

const ESCAPE = /\\(?:([abfnrtv\\])|([0-7]{3})|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(["/|]))/y;

const SINGLE: Readonly<Record<string, string>> = {
  a: "\x07",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
  v: "\v",
  "\\": "\\",
};

/** The quoted text that begins at a position, quotes and all; undefined when it does not end. */
export function scanQuoted(input: string, position: number): string | undefined {
  QUOTED.lastIndex = position;
  return QUOTED.exec(input)?.[0];
}

/** What a quoted text stands for; undefined for one with an escape that is none. */
export function unquote(quoted: string): string | undefined {
  const [quote] = quoted;
  const parts: Buffer[] = [];
  const end = quoted.length - 1;
  for (let position = 1; position < end; ) {
    if (quoted[position] !== "\\") {
      const next = quoted.indexOf("\\", position);
      const until = next === -1 ? end : next;
      parts.push(Buffer.from(quoted.slice(position, until)));
      position = until;
      continue;
    }
    ESCAPE.lastIndex = position;
    const found = ESCAPE.exec(quoted);
    const bytes = found === null ? undefined : bytesOf(found, quote!);
    if (bytes === undefined) return undefined;
    parts.push(bytes);
    position += found![0].length;
  }
  return Buffer.concat(parts).toString("utf8");
}

/** Octal and `\x` are bytes, which several of may make a character. */
function bytesOf([, single, octal, byte, short, long, quoted]: RegExpExecArray, quote: string): Buffer | undefined {
  if (single !== undefined) return Buffer.from(SINGLE[single]!);
  if (quoted !== undefined) return quoted === quote ? Buffer.from(quoted) : undefined;
  const isByte = octal !== undefined || byte !== undefined;
  const value = octal === undefined ? Number.parseInt(byte ?? short ?? long ?? "", 16) : Number.parseInt(octal, 8);
  if (isByte) return value > 0xff ? undefined : Buffer.of(value);
  return value > 0x10ffff ? undefined : Buffer.from(String.fromCodePoint(value));
}
