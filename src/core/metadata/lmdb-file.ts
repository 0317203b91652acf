import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { Slices } from "../scheduling/slices.js";

/** Of LMDB's format, which is little-endian here as all that Node runs on is. */
const MAGIC = 0xbeefc0de;
const VERSION = 2;
/** In bytes. */
const PAGE_HEADER = 24;
const META_SIZE = 136;
const TREE_SIZE = 48;
const NODE_HEADER = 8;
const NO_PAGE = 0xffff_ffff_ffff_ffffn;

/** What a page is, as its header says. */
const BRANCH = 0x01;
const LEAF = 0x02;
const OVERFLOW = 0x04;
const META = 0x08;
/** Of what is in a leaf: its value is on pages of its own; it is a tree itself. */
const ON_PAGES = 0x01;
const IS_TREE = 0x02;

/** Deeper trees than LMDB makes. */
const MAX_DEPTH = 32;

/**
 * Looks at every page that the newest state of an LMDB file consists of. LMDB maps the file and trusts it: one that was cut off, or is
 * another program's, would end the daemon by a signal.
 * @throws Error that says what is wrong; a system error
 */
export async function checkLmdbFile(path: string): Promise<void> {
  const fd = openSync(path, "r");
  try {
    await new LmdbFile(fd).check();
  } finally {
    closeSync(fd);
  }
}

class LmdbFile {
  readonly #fd: number;
  readonly #slices = new Slices();
  /** In bytes, of the file. */
  readonly #size: number;
  #pageSize = 0;
  /** Page numbers of the state are up to this. */
  #lastPage = 0n;

  constructor(fd: number) {
    this.#fd = fd;
    this.#size = fstatSync(fd).size;
  }

  async check(): Promise<void> {
    const first = this.#meta(0);
    this.#pageSize = first.readUInt32LE(24);
    if (this.#pageSize < 512 || this.#pageSize > 65_536 || (this.#pageSize & (this.#pageSize - 1)) !== 0)
      throw foreign();
    const second = this.#meta(this.#pageSize);
    const newest = first.readBigUInt64LE(128) > second.readBigUInt64LE(128) ? first : second;
    this.#lastPage = newest.readBigUInt64LE(120);
    for (const start of [24, 24 + TREE_SIZE]) await this.#tree(newest.subarray(start, start + TREE_SIZE));
  }

  /** What a page of meta data has behind its header. */
  #meta(offset: number): Buffer {
    const page = this.#read(offset, PAGE_HEADER + META_SIZE);
    if (page === undefined) throw torn("its beginning is missing");
    const meta = page.subarray(PAGE_HEADER);
    if (meta.readUInt32LE(0) !== MAGIC || meta.readUInt32LE(4) !== VERSION || page.readUInt16LE(18) !== META)
      throw foreign();
    return meta;
  }

  async #tree(tree: Buffer): Promise<void> {
    const root = tree.readBigUInt64LE(40);
    if (root !== NO_PAGE) await this.#node(root, tree.readUInt16LE(6));
  }

  async #node(number: bigint, depth: number): Promise<void> {
    await this.#slices.next();
    const page = this.#page(number, this.#pageSize);
    const flags = page.readUInt16LE(18) & (BRANCH | LEAF | OVERFLOW | META);
    if (depth < 1 || depth > MAX_DEPTH || flags !== (depth === 1 ? LEAF : BRANCH)) throw damaged(number);
    const lower = page.readUInt16LE(20);
    if (lower + PAGE_HEADER > this.#pageSize) throw damaged(number);
    for (let pointer = PAGE_HEADER; pointer < PAGE_HEADER + lower; pointer += 2) {
      const start = page.readUInt16LE(pointer) + PAGE_HEADER;
      if (start + NODE_HEADER > this.#pageSize) throw damaged(number);
      const node = page.subarray(start);
      if (flags === BRANCH)
        await this.#node(BigInt(node.readUInt32LE(0)) + (BigInt(node.readUInt16LE(4)) << 32n), depth - 1);
      else await this.#value(number, node);
    }
  }

  async #value(number: bigint, node: Buffer): Promise<void> {
    const flags = node.readUInt16LE(4);
    const value = node.subarray(NODE_HEADER + node.readUInt16LE(6));
    if (flags & ON_PAGES) {
      if (value.length < 24) throw damaged(number);
      this.#overflow(value.readBigUInt64LE(0), node.readUInt32LE(0));
    } else if (node.readUInt32LE(0) > value.length || (flags & IS_TREE && value.length < TREE_SIZE))
      throw damaged(number);
    else if (flags & IS_TREE) await this.#tree(value.subarray(0, TREE_SIZE));
  }

  /** Pages that have one value; only the first has a header. */
  #overflow(number: bigint, length: number): void {
    const header = this.#page(number, PAGE_HEADER);
    if ((header.readUInt16LE(18) & OVERFLOW) === 0) throw damaged(number);
    if (Number(number) * this.#pageSize + PAGE_HEADER + length > this.#size) throw torn(`page ${number} is cut off`);
  }

  #page(number: bigint, length: number): Buffer {
    if (number > this.#lastPage) throw damaged(number);
    const page = this.#read(Number(number) * this.#pageSize, length);
    if (page === undefined) throw torn(`page ${number} is missing`);
    if (page.readBigUInt64LE(0) !== number) throw damaged(number);
    return page;
  }

  /** Undefined behind the file's end. */
  #read(offset: number, length: number): Buffer | undefined {
    const bytes = Buffer.allocUnsafe(length);
    return readSync(this.#fd, bytes, 0, length, offset) === length ? bytes : undefined;
  }
}

function foreign(): Error {
  return new Error("not a file of this daemon's");
}

function torn(why: string): Error {
  return new Error(`a part of the file is missing: ${why}`);
}

function damaged(number: bigint): Error {
  return new Error(`the file is damaged: page ${number}`);
}
