/** How many symbols of HPACK's Huffman code have a code of 0, 1, 2 … bits (RFC 7541, appendix B). */
export const SYMBOLS_OF_LENGTH: readonly number[] = [
  0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19, 29, 0, 4,
];

/** The codes of `/` and `.`, six bits each: one can be put in the other's place. */
const SLASH = 0b011000;
const DOT = 0b010111;
const LENGTH = 6;

/**
 * The positions, in bits, of every `/` in a Huffman-coded string.
 *
 * The code is canonical: codes of one length are consecutive, and shorter ones come first, so where one ends follows from how many there
 * are of each length; what the other symbols stand for is not needed.
 */
export function slashPositions(coded: Uint8Array): number[] {
  const positions: number[] = [];
  const bits = coded.length * 8;
  let start = 0;
  for (let position = 0; position < bits; ) {
    let code = 0;
    let first = 0;
    for (let length = 1; ; length++) {
      // The padding, or no code at all: nothing comes after it.
      if (position === bits || length === SYMBOLS_OF_LENGTH.length) return positions;
      code = (code << 1) | ((coded[position >> 3]! >> (7 - (position & 7))) & 1);
      position++;
      first <<= 1;
      const count = SYMBOLS_OF_LENGTH[length]!;
      if (code - first < count) {
        if (length === LENGTH && code === SLASH) positions.push(start);
        break;
      }
      first += count;
    }
    start = position;
  }
  return positions;
}

/** Makes the `/` at this position, in bits, a `.`, in place. */
export function replaceSlash(coded: Uint8Array, position: number): void {
  for (let bit = 0; bit < LENGTH; bit++) {
    const at = position + bit;
    const mask = 0x80 >> (at & 7);
    if ((DOT >> (LENGTH - 1 - bit)) & 1) coded[at >> 3]! |= mask;
    else coded[at >> 3]! &= ~mask;
  }
}
