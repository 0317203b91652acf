/** HPACK as a client's encoder writes it (RFC 7541): what tests need of it. */

/** Bits of the code of each byte's symbol (RFC 7541, appendix B). */
// biome-ignore format: a table
const CODE_LENGTHS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/** How many symbols have codes of each length, the end of string's (30 bits) included. */
export function symbolsPerLength(): number[] {
  const counts = new Array<number>(31).fill(0);
  for (const length of [...CODE_LENGTHS, 30]) counts[length]!++;
  return counts;
}

const codes: { code: number; length: number }[] = [];
let next = 0;
for (let length = 1; length <= 30; length++, next *= 2)
  CODE_LENGTHS.forEach((bits, symbol) => {
    if (bits === length) codes[symbol] = { code: next++, length };
  });

export function huffman(text: string | Uint8Array): Buffer {
  const bits = [...Buffer.from(text)]
    .map((byte) => codes[byte]!.code.toString(2).padStart(codes[byte]!.length, "0"))
    .join("");
  const padded = bits.padEnd(Math.ceil(bits.length / 8) * 8, "1");
  return Buffer.from((padded.match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)));
}

/** An integer after a prefix (RFC 7541, 5.1); `first` holds the bits before it. */
export function integer(value: number, prefix: number, first: number): Buffer {
  const limit = 2 ** prefix - 1;
  if (value < limit) return Buffer.from([first | value]);
  const bytes = [first | limit];
  let rest = value - limit;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 0x80);
  return Buffer.from([...bytes, rest]);
}

export function string(text: string | Uint8Array, coded = true): Buffer {
  const bytes = coded ? huffman(text) : Buffer.from(text);
  return Buffer.concat([integer(bytes.length, 7, coded ? 0x80 : 0), bytes]);
}

export type Indexing = "incremental" | "none" | "never";
const LITERAL_KINDS = { incremental: [6, 0x40], none: [4, 0x00], never: [4, 0x10] } as const;

/** A literal field; `name` is spelled out or an index. */
export function literal(
  name: string | number,
  value: string,
  { indexing = "incremental", coded = true }: { indexing?: Indexing; coded?: boolean } = {},
): Buffer {
  const [prefix, first] = LITERAL_KINDS[indexing];
  return typeof name === "number"
    ? Buffer.concat([integer(name, prefix, first), string(value, coded)])
    : Buffer.concat([Buffer.from([first]), string(name, coded), string(value, coded)]);
}

/** A field that is in a table. */
export const indexed = (index: number): Buffer => integer(index, 7, 0x80);

/** Indices of the static table (RFC 7541, appendix A). */
export const AUTHORITY = 1;
export const METHOD_POST = 3;
export const PATH = 4;
export const SCHEME_HTTP = 6;
export const FIRST_DYNAMIC = 62;
