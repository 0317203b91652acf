import { ftruncateSync, readSync, writeSync } from "node:fs";
import { ArchiveError } from "../../../contract/tar/archive-error.js";
import { BLOCK, INODE, type Inode, LINKS_AT, putInode, putSuperBlock } from "./format.js";
import { Packer, WINDOW } from "./packer.js";

/** Data is collected up to so many bytes before it is written. */
const COLLECTED = 1 << 18;
/** The kernel counts blocks in 32 bits. */
const MAX_SIZE = 0xffffffff * BLOCK;
const ZEROS = Buffer.alloc(BLOCK);

/**
 * An EROFS image that is written while its files arrive. Their data goes to the end of it, each file from a block of its own. An inode is
 * written as soon as its file has come, together with the last bytes of the data, into windows of metadata that lie between the data; it is
 * found by its byte in the file.
 */
export class ImageFile {
  readonly #fd: number;
  readonly #collected = Buffer.allocUnsafe(COLLECTED);
  #length = 0;
  /** The byte of the file where what was collected goes to. */
  #at = BLOCK;

  readonly #window = Buffer.alloc(WINDOW * BLOCK);
  #windowAt = -1;
  readonly #packer = new Packer();
  readonly #onWritten: (bytes: number) => void;

  /**
   * @param fd a new file, to be read and written
   * @param onWritten is told after each write how much that was
   */
  constructor(fd: number, onWritten: (bytes: number) => void = () => {}) {
    this.#fd = fd;
    this.#onWritten = onWritten;
  }

  /** Where the next data goes to, in bytes; a whole number of blocks when no file is under way. */
  get end(): number {
    return this.#at + this.#length;
  }

  /** Adds bytes to the data. */
  append(bytes: Buffer): void {
    this.#checkSize(bytes.length);
    if (this.#length + bytes.length > COLLECTED) this.#write();
    if (bytes.length >= COLLECTED) {
      this.#put(bytes, bytes.length, this.#at);
      this.#at += bytes.length;
      return;
    }
    bytes.copy(this.#collected, this.#length);
    this.#length += bytes.length;
  }

  /** Adds a hole to the data: zeros that take no room where they are whole blocks. */
  skip(size: number): void {
    this.#checkSize(size);
    const toBlock = Math.min(size, (BLOCK - (this.end % BLOCK)) % BLOCK);
    this.append(ZEROS.subarray(0, toBlock));
    const rest = size - toBlock;
    const blocks = rest - (rest % BLOCK);
    if (blocks > 0) {
      this.#write();
      this.#at += blocks;
    }
    this.append(ZEROS.subarray(0, rest - blocks));
  }

  /** Fills the last block of a file's data. */
  align(): void {
    this.append(ZEROS.subarray(0, (BLOCK - (this.end % BLOCK)) % BLOCK));
  }

  /**
   * Writes an inode. Not while the data of a file is under way but for its last bytes.
   * @param inline the last bytes of the data, empty when they are in a block
   * @param place the first block of the data, or a device
   * @returns its byte in the file
   */
  addInode(inode: Inode, attributes: Buffer, inline: Buffer, place: number): number {
    const length = INODE + attributes.length + inline.length;
    let at = this.#windowAt === -1 ? undefined : this.#packer.place(length);
    if (at === undefined) {
      this.#newWindow();
      at = this.#packer.place(length)!;
    }
    putInode(this.#window, at, inode, { inline: inline.length > 0, attributes: attributes.length, place });
    if (attributes.length > 0) attributes.copy(this.#window, at + INODE);
    if (inline.length > 0) inline.copy(this.#window, at + INODE + attributes.length);
    return this.#windowAt + at;
  }

  /** Whether bytes of data may lie behind an inode. */
  static fitsInline(attributes: Buffer, length: number): boolean {
    return length > 0 && INODE + attributes.length + length <= BLOCK;
  }

  /** Reads back what was written. */
  read(at: number, length: number): Buffer {
    if (at >= this.#windowAt && this.#windowAt !== -1 && at + length <= this.#windowAt + this.#window.length)
      return Buffer.from(this.#window.subarray(at - this.#windowAt, at - this.#windowAt + length));
    if (at + length > this.#at && at < this.end) this.#write();
    const bytes = Buffer.alloc(length);
    readSync(this.#fd, bytes, 0, length, at);
    return bytes;
  }

  /** What a symbolic link leads to, by the byte of its inode. */
  target(at: number): string {
    const head = this.read(at, INODE);
    const isInline = head.readUInt16LE(0) === 5;
    const count = head.readUInt16LE(2);
    const attributes = count === 0 ? 0 : 12 + (count - 1) * 4;
    const from = isInline ? at + INODE + attributes : head.readUInt32LE(16) * BLOCK;
    return this.read(from, head.readUInt32LE(8)).toString("latin1");
  }

  /** Says of an inode that is written how many names it has. */
  setLinks(at: number, links: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(links);
    this.put(bytes, at + LINKS_AT);
  }

  /** Takes `size` bytes at the end, whole blocks, which {@link put} fills. */
  reserve(size: number): number {
    this.#checkSize(size);
    this.#write();
    const at = this.#at;
    this.#at += size;
    return at;
  }

  /** Writes over what was reserved. */
  put(bytes: Buffer, at: number): void {
    this.#put(bytes, bytes.length, at);
  }

  /** All inodes that were added are in the file from now on. */
  flush(): void {
    this.#writeWindow();
    this.#write();
  }

  /** The image is complete, but for what is still in the kernel's memory. @param first the first block, with the root's inode */
  finish(first: Buffer, inodes: number): void {
    this.flush();
    putSuperBlock(first, { inodes, blocks: this.#at / BLOCK });
    this.#put(first, BLOCK, 0);
    ftruncateSync(this.#fd, this.#at);
  }

  #newWindow(): void {
    this.#writeWindow();
    this.#windowAt = this.reserve(this.#window.length);
  }

  #writeWindow(): void {
    if (this.#windowAt === -1) return;
    const used = this.#packer.used * BLOCK;
    this.#put(this.#window, used, this.#windowAt);
    this.#window.fill(0, 0, used);
    this.#packer.clear();
    this.#windowAt = -1;
  }

  #write(): void {
    if (this.#length === 0) return;
    this.#put(this.#collected, this.#length, this.#at);
    this.#at += this.#length;
    this.#length = 0;
  }

  #put(bytes: Buffer, length: number, at: number): void {
    for (let done = 0; done < length; ) done += writeSync(this.#fd, bytes, done, length - done, at + done);
    this.#onWritten(length);
  }

  #checkSize(more: number): void {
    if (this.end + more > MAX_SIZE) throw new ArchiveError("it is larger than EROFS can be");
  }
}
