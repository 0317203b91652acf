import { replaceSlash, slashPositions } from "./huffman.js";

/** Index of the name `:authority` in HPACK's static table (RFC 7541, appendix A). */
const AUTHORITY = 1;
const SLASH = "/".charCodeAt(0);
const DOT = ".".charCodeAt(0);

/** A string as it lies in a header block. */
interface StringLiteral {
  bytes: Uint8Array;
  huffman: boolean;
}

/**
 * The values that a header block (RFC 7541, 6) gives to `:authority` as literals, in place. Stops without an error where the block is no
 * HPACK: what is wrong with it is the HTTP/2 library's to say.
 *
 * The dynamic table is not needed. A field that is in it as a whole got there by a literal on the same connection that was seen here. A
 * literal may also take its name from the dynamic table (an index above 61) or spell it out; no encoder does so with a name of the static
 * table (grpc-go's and nghttp2's look there first), and such a value is left alone.
 */
export function authorityValues(block: Uint8Array): StringLiteral[] {
  const values: StringLiteral[] = [];
  const reader = new BlockReader(block);
  while (!reader.done) {
    const first = reader.peek();
    if (first & 0x80) {
      // Indexed field.
      reader.integer(7);
    } else if ((first & 0xe0) === 0x20) {
      // Dynamic table size update.
      reader.integer(5);
    } else {
      // Literal: with incremental indexing (01), without indexing (0000) or never indexed (0001).
      const name = reader.integer(first & 0x40 ? 6 : 4);
      if (name === 0) reader.string();
      const value = reader.string();
      if (name === AUTHORITY && value) values.push(value);
    }
  }
  return values;
}

/** True when a value holds a `/`. */
export function hasSlash({ bytes, huffman }: StringLiteral): boolean {
  return huffman ? slashPositions(bytes).length > 0 : bytes.includes(SLASH);
}

/** Makes every `/` in the block's `:authority` a `.`, in place. Returns whether there was one. */
export function replaceSlashes(block: Uint8Array): boolean {
  let replaced = false;
  for (const { bytes, huffman } of authorityValues(block)) {
    if (huffman) {
      for (const position of slashPositions(bytes)) {
        replaceSlash(bytes, position);
        replaced = true;
      }
    } else {
      for (let at = bytes.indexOf(SLASH); at >= 0; at = bytes.indexOf(SLASH, at)) {
        bytes[at] = DOT;
        replaced = true;
      }
    }
  }
  return replaced;
}

/** Larger integers than any length or index in a block that is held in memory. */
const INTEGER_LIMIT = 1 << 28;

/** Reads the primitives of RFC 7541, 5. After an error it is done, and what it returns means nothing. */
class BlockReader {
  readonly #block: Uint8Array;
  #at = 0;

  constructor(block: Uint8Array) {
    this.#block = block;
  }

  get done(): boolean {
    return this.#at >= this.#block.length;
  }

  /** The next byte, which stays the next. */
  peek(): number {
    return this.#block[this.#at]!;
  }

  /** An integer whose first part is the last `bits` bits of the next byte (RFC 7541, 5.1); NaN when it is cut off or too large. */
  integer(bits: number): number {
    if (this.done) return Number.NaN;
    const limit = (1 << bits) - 1;
    let value = this.#block[this.#at++]! & limit;
    if (value < limit) return value;
    for (let factor = 1; !this.done; factor *= 128) {
      const byte = this.#block[this.#at++]!;
      value += (byte & 0x7f) * factor;
      if (value > INTEGER_LIMIT || factor > INTEGER_LIMIT) break;
      if (byte < 0x80) return value;
    }
    this.#at = this.#block.length;
    return Number.NaN;
  }

  /** A string literal (RFC 7541, 5.2); undefined when it is cut off. */
  string(): StringLiteral | undefined {
    if (this.done) return undefined;
    const huffman = (this.peek() & 0x80) !== 0;
    const length = this.integer(7);
    const end = this.#at + length;
    if (!(end <= this.#block.length)) {
      this.#at = this.#block.length;
      return undefined;
    }
    const bytes = this.#block.subarray(this.#at, end);
    this.#at = end;
    return { bytes, huffman };
  }
}
