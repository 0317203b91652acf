/** The content of a directory: blocks of entries with the names behind them. */
import { BLOCK, put64, SLOT } from "./format.js";

const ENTRY = 12;

/** In bytes, of a directory with names of these lengths in their order. */
export function directorySize(lengths: Iterable<number>): number {
  let blocks = 0;
  let used = 0;
  for (const length of lengths) {
    if (used + ENTRY + length > BLOCK) {
      blocks++;
      used = 0;
    }
    used += ENTRY + length;
  }
  return blocks * BLOCK + used;
}

/** Makes the blocks of a directory, entry by entry; they are sorted by the bytes of their names, "." and ".." among them. */
export class DirectoryWriter {
  readonly #content: Buffer;
  /** Of the block under way: where it begins, and its entries. */
  #begin = 0;
  #names: Buffer[] = [];
  #inodes: number[] = [];
  #types: number[] = [];
  #used = 0;

  /** @param size of the content, see {@link directorySize} */
  constructor(size: number) {
    this.#content = Buffer.alloc(size);
  }

  /** @param at the byte of the file where the inode is */
  add(name: Buffer, at: number, type: number): void {
    if (this.#used + ENTRY + name.length > BLOCK) {
      this.#endBlock();
      this.#begin += BLOCK;
    }
    this.#used += ENTRY + name.length;
    this.#names.push(name);
    this.#inodes.push(at);
    this.#types.push(type);
  }

  content(): Buffer {
    this.#endBlock();
    return this.#content;
  }

  #endBlock(): void {
    let nameAt = this.#names.length * ENTRY;
    for (const [index, name] of this.#names.entries()) {
      const at = this.#begin + index * ENTRY;
      put64(this.#content, at, this.#inodes[index]! / SLOT);
      this.#content.writeUInt16LE(nameAt, at + 8);
      this.#content.writeUInt8(this.#types[index]!, at + 10);
      name.copy(this.#content, this.#begin + nameAt);
      nameAt += name.length;
    }
    this.#names = [];
    this.#inodes = [];
    this.#types = [];
    this.#used = 0;
  }
}
