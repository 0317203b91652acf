import { BLOCK, SLOT } from "./format.js";

/** Of a window, in blocks: so much of the metadata is in memory until it is written at once. */
export const WINDOW = 32;

/**
 * Puts pieces of metadata into the blocks of a window: none crosses the end of a block, but those that are larger than one, which get
 * blocks of their own.
 */
export class Packer {
  readonly #filled = new Uint16Array(WINDOW);
  /** Blocks before this one have no room for anything. */
  #first = 0;
  /** Blocks that have anything. */
  used = 0;

  /** Where in the window `length` bytes have their place now; undefined when there is no room left for them. */
  place(length: number): number | undefined {
    const size = Math.ceil(length / SLOT) * SLOT;
    if (size > BLOCK) return this.#placeBlocks(Math.ceil(size / BLOCK));
    for (let block = this.#first; block < WINDOW; block++) {
      const filled = this.#filled[block]!;
      if (BLOCK - filled < size) continue;
      this.#filled[block] = filled + size;
      while (this.#first < WINDOW && this.#filled[this.#first]! > BLOCK - 2 * SLOT) this.#first++;
      this.used = Math.max(this.used, block + 1);
      return block * BLOCK + filled;
    }
    return undefined;
  }

  #placeBlocks(count: number): number | undefined {
    const block = this.used;
    if (block + count > WINDOW) return undefined;
    this.#filled.fill(BLOCK, block, block + count);
    this.used += count;
    return block * BLOCK;
  }

  clear(): void {
    this.#filled.fill(0);
    this.#first = 0;
    this.used = 0;
  }
}
