import type { Bytes } from "../../contract/tar/archive-entry.js";
import { ArchiveError } from "../../contract/tar/archive-error.js";

/** What an entry of a directory is: nothing (0), a directory (below 0), anything else (above). */
export type Ref = number;
export const NOTHING = 0;
export const ROOT = 1;

/** Names lie in pieces of this size, in bytes; none lies in two. */
const PIECE = 1 << 20;
/** In bytes, of all names together. */
const MAX_NAMES = 128 << 20;
export const LONGEST_NAME = 255;
/** How deep directories may be in each other. */
const DEEPEST = 2048;
/** Of aufs: what it keeps for itself. Only hard links may lead there. */
export const AUFS = ".wh..wh.";

/** More than can be kept in memory. */
class TreeTooLarge extends ArchiveError {}

/** What is known of a directory besides its entries. */
export interface Attributes {
  mode: number;
  uid: number;
  gid: number;
  mtime: number;
  nanoseconds: number;
  /** Extended ones, as they are written. */
  area: Buffer;
}

/** The archive does not name it: it is there because something is in it. */
export const IMPLICIT = 1;
/** It hides what it has in the layers below. */
export const OPAQUE = 2;
/** It replaces what is at its place in the layers below, which is hidden with all that is in it. */
export const COVERS = 4;

/**
 * All names of a layer: which directory has which, and what they stand for. Made for a million of them: columns of numbers and bytes, no
 * objects. A directory that was replaced keeps its entries, but nothing leads to them any more.
 */
export class LayerTree {
  readonly #max: number;
  // Entries of directories; number 0 is none.
  #entries = 1;
  #directoryOf = new Uint32Array(1024);
  #nameAt = new Uint32Array(1024);
  #nameLength = new Uint8Array(1024);
  #refOf = new Int32Array(1024);
  #covered = new Uint8Array(1024);
  /** Open addressing by directory and name. */
  #slots = new Uint32Array(4096);

  #names: Buffer[] = [Buffer.allocUnsafe(PIECE)];
  #namesEnd = 0;

  // What is no directory: number 0 is none.
  #leaves = 1;
  #inodeAt = new Float64Array(1024);
  #type = new Uint16Array(1024);

  // Directories: number 0 is none, 1 the root.
  #directories = 1;
  #entryOf = new Uint32Array(256);
  #mode = new Uint16Array(256);
  #uid = new Uint32Array(256);
  #gid = new Uint32Array(256);
  #mtime = new Float64Array(256);
  #nanoseconds = new Uint32Array(256);
  #flags = new Uint8Array(256);
  #depth = new Uint16Array(256);
  /** Most have none, and many the same. */
  readonly #areas = new Map<number, Buffer>();
  #areasSize = 0;

  /** @param max entries; more are refused */
  constructor(max: number) {
    this.#max = max;
    this.addDirectory(0, IMPLICIT);
  }

  get entries(): number {
    return this.#entries - 1;
  }

  get directories(): number {
    return this.#directories - 1;
  }

  get leaves(): number {
    return this.#leaves - 1;
  }

  /** The number of the entry, 0 when there is none. */
  find(directory: number, name: Bytes): number {
    const mask = this.#slots.length - 1;
    for (let slot = hash(directory, name) & mask; ; slot = (slot + 1) & mask) {
      const entry = this.#slots[slot]!;
      if (entry === 0 || (this.#directoryOf[entry] === directory && this.#isNamed(entry, name))) return entry;
    }
  }

  /** The entry of that name, which is made when there is none yet. */
  entry(directory: number, name: Bytes): number {
    const found = this.find(directory, name);
    return found === 0 ? this.#add(directory, name) : found;
  }

  ref(entry: number): Ref {
    return this.#refOf[entry]!;
  }

  lookup(directory: number, name: Bytes): Ref {
    return this.#refOf[this.find(directory, name)]!;
  }

  set(entry: number, ref: Ref): void {
    this.#refOf[entry] = ref;
  }

  /** Whether a whiteout stands at an entry, or has stood there until something else came. */
  isCovered(entry: number): boolean {
    return this.#covered[entry] === 1;
  }

  setCovered(entry: number): void {
    this.#covered[entry] = 1;
  }

  directoryOf(entry: number): number {
    return this.#directoryOf[entry]!;
  }

  name(entry: number): Bytes {
    return this.nameBytes(entry).toString("latin1");
  }

  nameBytes(entry: number): Buffer {
    const at = this.#nameAt[entry]!;
    const piece = this.#names[Math.floor(at / PIECE)]!;
    return piece.subarray(at % PIECE, (at % PIECE) + this.#nameLength[entry]!);
  }

  nameLength(entry: number): number {
    return this.#nameLength[entry]!;
  }

  /** @param inodeAt the byte of the file where the inode is; @param type with the type bits of st_mode */
  addLeaf(inodeAt: number, type: number): Ref {
    const leaf = this.#leaves++;
    if (leaf === this.#inodeAt.length) {
      this.#inodeAt = grown(this.#inodeAt, Float64Array);
      this.#type = grown(this.#type, Uint16Array);
    }
    this.#inodeAt[leaf] = inodeAt;
    this.#type[leaf] = type;
    return leaf;
  }

  inodeAt(leaf: Ref): number {
    return this.#inodeAt[leaf]!;
  }

  /** The type bits of st_mode, as they were given. */
  leafType(leaf: Ref): number {
    return this.#type[leaf]!;
  }

  /** A directory that stands for `entry`. */
  addDirectory(entry: number, flags: number): number {
    const directory = this.#directories++;
    if (directory === this.#entryOf.length) {
      this.#entryOf = grown(this.#entryOf, Uint32Array);
      this.#mode = grown(this.#mode, Uint16Array);
      this.#uid = grown(this.#uid, Uint32Array);
      this.#gid = grown(this.#gid, Uint32Array);
      this.#mtime = grown(this.#mtime, Float64Array);
      this.#nanoseconds = grown(this.#nanoseconds, Uint32Array);
      this.#flags = grown(this.#flags, Uint8Array);
      this.#depth = grown(this.#depth, Uint16Array);
    }
    this.#entryOf[directory] = entry;
    this.#refOf[entry] = entry === 0 ? NOTHING : -directory;
    this.#flags[directory] = flags;
    this.#mode[directory] = 0o755;
    const depth = directory === ROOT ? 0 : this.#depth[this.#directoryOf[entry]!]! + 1;
    if (depth > DEEPEST) throw new TreeTooLarge(`directories are nested more than ${DEEPEST} times`);
    this.#depth[directory] = depth;
    return directory;
  }

  /** The entry that leads to a directory; 0 for the root. */
  entryOf(directory: number): number {
    return this.#entryOf[directory]!;
  }

  parentOf(directory: number): number {
    return directory === ROOT ? ROOT : this.#directoryOf[this.#entryOf[directory]!]!;
  }

  /** Has another entry lead to a directory. */
  move(directory: number, entry: number): void {
    this.#refOf[this.#entryOf[directory]!] = NOTHING;
    this.#entryOf[directory] = entry;
    this.#refOf[entry] = -directory;
  }

  flags(directory: number): number {
    return this.#flags[directory]!;
  }

  setFlags(directory: number, flags: number): void {
    this.#flags[directory] = flags;
  }

  attributes(directory: number): Attributes {
    return {
      mode: this.#mode[directory]!,
      uid: this.#uid[directory]!,
      gid: this.#gid[directory]!,
      mtime: this.#mtime[directory]!,
      nanoseconds: this.#nanoseconds[directory]!,
      area: this.#areas.get(directory) ?? Buffer.alloc(0),
    };
  }

  setAttributes(directory: number, { mode, uid, gid, mtime, nanoseconds, area }: Attributes): void {
    this.#mode[directory] = mode;
    this.#uid[directory] = uid;
    this.#gid[directory] = gid;
    this.#mtime[directory] = mtime;
    this.#nanoseconds[directory] = nanoseconds;
    this.#areasSize += area.length - (this.#areas.get(directory)?.length ?? 0);
    if (area.length > 0) this.#areas.set(directory, area);
    else this.#areas.delete(directory);
    if (this.#areasSize > MAX_NAMES / 4) throw new TreeTooLarge("its directories have too many attributes");
  }

  /** From the root, without a slash before it. */
  path(directory: number, name?: Bytes): Bytes {
    const parts = name === undefined ? [] : [name];
    for (let at = directory; at !== ROOT; at = this.parentOf(at)) parts.push(this.name(this.entryOf(at)));
    return parts.reverse().join("/");
  }

  /** The entries of each directory that stand for something, in no order. */
  children(): Children {
    const starts = new Uint32Array(this.#directories + 1);
    for (let entry = 1; entry < this.#entries; entry++)
      if (this.#refOf[entry] !== NOTHING) starts[this.#directoryOf[entry]! + 1]!++;
    for (let i = 1; i < starts.length; i++) starts[i]! += starts[i - 1]!;
    const next = starts.slice();
    const list = new Uint32Array(starts[starts.length - 1]!);
    for (let entry = 1; entry < this.#entries; entry++)
      if (this.#refOf[entry] !== NOTHING) list[next[this.#directoryOf[entry]!]!++] = entry;
    return { of: (directory) => list.subarray(starts[directory]!, starts[directory + 1]!) };
  }

  /**
   * All directories that something leads to, each behind its parent. `shown`: only those whose place in the layers below shows, and none
   * of what aufs keeps for itself.
   */
  *walk(children: Children, shown: boolean): Generator<number> {
    const hides = (directory: number) => shown && (this.flags(directory) & (OPAQUE | COVERS)) !== 0;
    const waiting = new Uint32Array(this.#directories);
    let end = 0;
    waiting[end++] = ROOT;
    for (let next = 0; next < end; next++) {
      const directory = waiting[next]!;
      yield directory;
      if (hides(directory)) continue;
      for (const entry of children.of(directory)) {
        const ref = this.#refOf[entry]!;
        if (ref < 0 && !(shown && this.flags(-ref) & COVERS) && !this.isAufs(entry)) waiting[end++] = -ref;
      }
    }
  }

  /** Whether a name is one that aufs uses for itself: it is not a part of the layer. */
  isAufs(entry: number): boolean {
    return this.#nameLength[entry]! >= AUFS.length && this.nameBytes(entry).toString("latin1", 0, AUFS.length) === AUFS;
  }

  /** Sorts entries of one directory by the bytes of their names. */
  sort(entries: Uint32Array): void {
    if (this.#isSorted(entries)) return;
    const named = Array.from(entries, (entry) => ({ entry, name: this.name(entry) }));
    named.sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const [index, { entry }] of named.entries()) entries[index] = entry;
  }

  #isSorted(entries: Uint32Array): boolean {
    for (let i = 1; i < entries.length; i++)
      if (Buffer.compare(this.nameBytes(entries[i - 1]!), this.nameBytes(entries[i]!)) > 0) return false;
    return true;
  }

  #isNamed(entry: number, name: Bytes): boolean {
    const length = this.#nameLength[entry]!;
    if (length !== name.length) return false;
    const at = this.#nameAt[entry]!;
    const piece = this.#names[Math.floor(at / PIECE)]!;
    const start = at % PIECE;
    for (let i = 0; i < length; i++) if (piece[start + i] !== name.charCodeAt(i)) return false;
    return true;
  }

  #add(directory: number, name: Bytes): number {
    if (this.#entries > this.#max) throw new TreeTooLarge(`it has more than ${this.#max} entries`);
    const entry = this.#entries++;
    if (entry === this.#refOf.length) {
      this.#directoryOf = grown(this.#directoryOf, Uint32Array);
      this.#nameAt = grown(this.#nameAt, Uint32Array);
      this.#nameLength = grown(this.#nameLength, Uint8Array);
      this.#refOf = grown(this.#refOf, Int32Array);
      this.#covered = grown(this.#covered, Uint8Array);
    }
    if (this.#entries * 2 > this.#slots.length) this.#rehash();
    this.#directoryOf[entry] = directory;
    this.#nameAt[entry] = this.#keepName(name);
    this.#nameLength[entry] = name.length;
    this.#refOf[entry] = NOTHING;
    this.#toSlot(entry, hash(directory, name));
    return entry;
  }

  #keepName(name: Bytes): number {
    if ((this.#namesEnd % PIECE) + name.length > PIECE || this.#namesEnd === this.#names.length * PIECE) {
      if ((this.#names.length + 1) * PIECE > MAX_NAMES) throw new TreeTooLarge("its names are too long");
      this.#namesEnd = this.#names.length * PIECE;
      this.#names.push(Buffer.allocUnsafe(PIECE));
    }
    const at = this.#namesEnd;
    this.#names[Math.floor(at / PIECE)]!.write(name, at % PIECE, "latin1");
    this.#namesEnd += name.length;
    return at;
  }

  #toSlot(entry: number, hashed: number): void {
    const mask = this.#slots.length - 1;
    let slot = hashed & mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
    this.#slots[slot] = entry;
  }

  #rehash(): void {
    this.#slots = new Uint32Array(this.#slots.length * 2);
    for (let entry = 1; entry < this.#entries - 1; entry++)
      this.#toSlot(entry, hash(this.#directoryOf[entry]!, this.name(entry)));
  }
}

export interface Children {
  of(directory: number): Uint32Array;
}

/** Nobody shall be able to choose names that all come to one slot. */
const SEED = Math.floor(Math.random() * 2 ** 32);

function hash(directory: number, name: Bytes): number {
  let value = SEED ^ Math.imul(directory, 0x9e3779b1);
  for (let i = 0; i < name.length; i++) value = Math.imul(value ^ name.charCodeAt(i), 0x01000193);
  value = Math.imul(value ^ (value >>> 15), 0x85ebca6b);
  return (value ^ (value >>> 13)) >>> 0;
}

type Column = Uint8Array | Uint16Array | Uint32Array | Int32Array | Float64Array;

function grown<T extends Column>(column: T, type: new (length: number) => T): T {
  const larger = new type(column.length * 2);
  larger.set(column as never);
  return larger;
}
