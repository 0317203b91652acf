import type { ArchiveEntry, Bytes } from "./archive-entry.js";
import { ArchiveError } from "./archive-error.js";
import { BLOCK, entryType, field, hasRightChecksum, isZero, nameIn, text } from "./header.js";
import { decimal, paxRecords, paxTime } from "./pax.js";
import { addOldParts, checkMap, mapNumber, mapOfText, type SparseMap, SparseMapReader } from "./sparse.js";

/** Extended headers and long names beyond this are refused, in bytes. */
const MAX_EXTENSION = 1 << 20;
const ATTRIBUTE = "SCHILY.xattr.";
/** Those of files with holes say something about one file only, and so does its name. */
const NOT_FOR_ALL = /^(?:GNU\.sparse\.|path$|linkpath$|size$)/;

/** What is told of an archive, in its order. What a method throws ends the reading. */
export interface ArchiveHandler {
  /** @param entry valid until the next one */
  entry(entry: ArchiveEntry): void;
  /** The next bytes of the entry's file. They are the reader's again when this returns. */
  data(bytes: Buffer): void;
  /** So many bytes of the entry's file are a hole. */
  hole(size: number): void;
  /** All of the entry has been told. */
  entryEnd(): void;
}

type State = "header" | "extension" | "old-map" | "map" | "data" | "padding" | "last" | "end";

/**
 * Reads a tar archive that comes piece by piece: POSIX with extended headers, GNU with long names and all forms of sparse files, star, and
 * what was before them. What contradicts itself is refused; where programs differ in what they make of an archive, it is read as Go's
 * archive/tar does, which the other engines have.
 */
export class TarReader {
  readonly #handler: ArchiveHandler;
  #state: State = "header";
  /** A block of which a part has come. */
  readonly #block = Buffer.alloc(BLOCK);
  #filled = 0;
  /** Of the data of an entry or an extension, in bytes: what is still to come. */
  #left = 0;
  #padding = 0;

  #extension = Buffer.alloc(0);
  #extensionFlag = "";
  #longName: Bytes | undefined;
  #longTarget: Bytes | undefined;
  #global: [Bytes, Buffer][] = [];
  #records: [Bytes, Buffer][] = [];

  readonly #entry: ArchiveEntry = {
    name: "",
    type: "file",
    target: "",
    mode: 0,
    uid: 0,
    gid: 0,
    size: 0,
    mtime: 0,
    nanoseconds: 0,
    major: 0,
    minor: 0,
    attributes: undefined,
  };
  /** Bytes of its data in the archive. */
  #stored = 0;
  #sparse: SparseMap | undefined;
  #mapReader = new SparseMapReader();
  /** Of a sparse file: the part that comes next or is under way, and how far the file is. */
  #part = 0;
  #position = 0;

  constructor(handler: ArchiveHandler) {
    this.#handler = handler;
  }

  /**
   * Takes the next bytes.
   * @throws ArchiveError that names the entry it is about, where it knows it
   */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      switch (this.#state) {
        case "data":
          at = this.#data(chunk, at);
          break;
        case "extension":
          at = this.#extend(chunk, at);
          break;
        case "padding":
          at = this.#skip(chunk, at);
          break;
        case "end":
          return;
        default:
          at = this.#blockOf(chunk, at);
      }
    }
  }

  /** No more bytes come. */
  end(): void {
    if (this.#state === "end" || this.#state === "last") return;
    const begun = this.#filled > 0 || this.#records.length > 0 || this.#longName !== undefined;
    if (this.#state === "header" && !begun && this.#longTarget === undefined) return;
    const inEntry = this.#state !== "header" && this.#state !== "extension";
    throw new ArchiveError("the archive ends in the middle of it", inEntry ? this.#entry.name : undefined);
  }

  /** Collects a block where it does not lie in `chunk` as a whole, and looks at it. */
  #blockOf(chunk: Buffer, at: number): number {
    if (this.#filled === 0 && chunk.length - at >= BLOCK) {
      this.#whole(chunk, at);
      return at + BLOCK;
    }
    const length = Math.min(BLOCK - this.#filled, chunk.length - at);
    chunk.copy(this.#block, this.#filled, at, at + length);
    this.#filled += length;
    if (this.#filled === BLOCK) {
      this.#filled = 0;
      this.#whole(this.#block, 0);
    }
    return at + length;
  }

  #whole(block: Buffer, at: number): void {
    switch (this.#state) {
      case "last":
        if (!isZero(block, at)) throw new ArchiveError("a block of zeros between its entries");
        this.#state = "end";
        return;
      case "old-map":
        this.#withEntry(() => {
          addOldParts(this.#sparse!, block, at, 21);
          if (block[at + 504] === 0) this.#begin();
        });
        return;
      case "map":
        this.#withEntry(() => {
          this.#left -= BLOCK;
          if (this.#left < 0) throw new ArchiveError("its table of data is longer than it");
          if (!this.#mapReader.take(block, at)) return;
          this.#sparse = this.#mapReader.map;
          this.#begin();
        });
        return;
      default:
        this.#header(block, at);
    }
  }

  /** Errors name the entry. */
  #withEntry(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof ArchiveError) || error.entry !== undefined) throw error;
      throw new ArchiveError(error.message, this.#entry.name);
    }
  }

  #header(block: Buffer, at: number): void {
    if (block[at] === 0 && isZero(block, at)) {
      this.#state = "last";
      return;
    }
    if (!hasRightChecksum(block, at)) {
      const before = this.#entry.name;
      const where = before === "" ? "at its begin" : `behind the entry ${JSON.stringify(before)}`;
      throw new ArchiveError(`no header with the right checksum ${where}`);
    }
    const flag = String.fromCharCode(block[at + 156]!);
    if (flag === "x" || flag === "g" || flag === "L" || flag === "K") {
      const size = field(block, at + 124, 12, "size");
      if (size < 0 || size > MAX_EXTENSION) throw new ArchiveError(`an extended header of ${size} bytes`);
      this.#extensionFlag = flag;
      this.#extension = Buffer.allocUnsafe(size);
      this.#expect("extension", size);
      if (size === 0) this.#extended();
      return;
    }
    this.#readEntry(block, at, flag);
  }

  /** @param size of what is behind a header, in bytes */
  #expect(state: State, size: number): void {
    this.#state = state;
    this.#left = size;
    this.#padding = (BLOCK - (size % BLOCK)) % BLOCK;
  }

  #extend(chunk: Buffer, at: number): number {
    const length = Math.min(this.#left, chunk.length - at);
    chunk.copy(this.#extension, this.#extension.length - this.#left, at, at + length);
    this.#left -= length;
    if (this.#left === 0) this.#extended();
    return at + length;
  }

  #extended(): void {
    const data = this.#extension;
    this.#extension = Buffer.alloc(0);
    if (this.#extensionFlag === "L") this.#longName = text(data, 0, data.length);
    else if (this.#extensionFlag === "K") this.#longTarget = text(data, 0, data.length);
    else if (this.#extensionFlag === "x") this.#records = paxRecords(data);
    else {
      const records = paxRecords(data).filter(([key]) => !NOT_FOR_ALL.test(key));
      const keys = new Set(records.map(([key]) => key));
      this.#global = [...this.#global.filter(([key]) => !keys.has(key)), ...records];
      const size = this.#global.reduce((sum, [key, value]) => sum + key.length + value.length, 0);
      if (size > MAX_EXTENSION) throw new ArchiveError(`global headers of ${size} bytes`);
    }
    this.#toPadding();
  }

  #toPadding(): void {
    this.#state = this.#padding === 0 ? "header" : "padding";
    this.#left = this.#padding;
  }

  #skip(chunk: Buffer, at: number): number {
    const length = Math.min(this.#left, chunk.length - at);
    this.#left -= length;
    if (this.#left === 0) this.#state = "header";
    return at + length;
  }

  #readEntry(block: Buffer, at: number, flag: string): void {
    const entry = this.#entry;
    entry.name = this.#longName ?? nameIn(block, at);
    this.#withEntry(() => {
      const type = entryType(flag);
      entry.target = this.#longTarget ?? text(block, at + 157, 100);
      entry.mode = field(block, at + 100, 8, "mode") & 0o7777;
      entry.uid = field(block, at + 108, 8, "owner");
      entry.gid = field(block, at + 116, 8, "group");
      entry.mtime = field(block, at + 136, 12, "time");
      entry.nanoseconds = 0;
      entry.attributes = undefined;
      const isDevice = type === "character-device" || type === "block-device";
      entry.major = isDevice ? field(block, at + 329, 8, "device") : 0;
      entry.minor = isDevice ? field(block, at + 337, 8, "device") : 0;
      entry.size = field(block, at + 124, 12, "size");
      this.#longName = undefined;
      this.#longTarget = undefined;
      this.#sparse = undefined;
      const version = this.#apply();
      if (type === undefined) throw new ArchiveError(`an entry of the unknown type ${JSON.stringify(flag)}`);
      // Some old programs told of a directory so.
      entry.type = type === "file" && entry.name.endsWith("/") ? "directory" : type;
      if (entry.size < 0) throw new ArchiveError(`a size of ${entry.size}`);
      this.#checkOwner(entry);
      if (entry.type === "file") this.#beginFile(block, at, flag, version);
      else {
        entry.size = 0;
        this.#sparse = undefined;
        this.#expect("data", 0);
        this.#handler.entry(entry);
        this.#finishEntry();
      }
    });
  }

  #checkOwner({ uid, gid }: ArchiveEntry): void {
    // The last number means "nobody" to the kernel.
    if (!(uid >= 0 && uid < 0xffffffff)) throw new ArchiveError(`an owner ${uid}`);
    if (!(gid >= 0 && gid < 0xffffffff)) throw new ArchiveError(`a group ${gid}`);
  }

  #beginFile(block: Buffer, at: number, flag: string, version: "map in the data" | undefined): void {
    this.#expect("data", this.#stored);
    if (version !== undefined) {
      this.#mapReader = new SparseMapReader();
      this.#state = "map";
    } else if (flag === "S") {
      this.#entry.size = field(block, at + 483, 12, "size");
      this.#sparse = [];
      addOldParts(this.#sparse, block, at + 386, 4);
      if (block[at + 482] === 0) this.#begin();
      else this.#state = "old-map";
    } else this.#begin();
  }

  /** The fields that extended headers have instead of the header's; where the table of a sparse file is, when it comes later. */
  #apply(): "map in the data" | undefined {
    const entry = this.#entry;
    const records = this.#global.length === 0 ? this.#records : [...this.#global, ...this.#records];
    this.#records = [];
    this.#stored = entry.size;
    if (records.length === 0) return undefined;
    let attributes: Map<Bytes, Buffer> | undefined;
    let major = "";
    let realSize: number | undefined;
    let sparseName: Bytes | undefined;
    for (const [key, value] of records) {
      if (key.startsWith(ATTRIBUTE)) {
        attributes ??= new Map();
        // Copied: the header that it is a part of would stay in memory.
        attributes.set(key.slice(ATTRIBUTE.length), Buffer.from(value));
        continue;
      }
      const said = value.toString("latin1");
      switch (key) {
        case "path":
        case "linkpath":
        case "GNU.sparse.name":
          if (said.includes("\0")) throw new ArchiveError(`a zero byte in its ${key}`);
          if (said === "") break;
          if (key === "path") entry.name = said;
          else if (key === "linkpath") entry.target = said;
          else sparseName = said;
          break;
        case "size":
          if (said !== "") this.#stored = numberOf(key, said);
          break;
        case "uid":
          if (said !== "") entry.uid = numberOf(key, said);
          break;
        case "gid":
          if (said !== "") entry.gid = numberOf(key, said);
          break;
        case "mtime": {
          if (said === "") break;
          const time = paxTime(said);
          if (time === undefined) throw new ArchiveError(`a time ${JSON.stringify(said)}`);
          entry.mtime = time.seconds;
          entry.nanoseconds = time.nanoseconds;
          break;
        }
        case "GNU.sparse.major":
          major = said;
          break;
        case "GNU.sparse.size":
        case "GNU.sparse.realsize":
          realSize = numberOf(key, said);
          break;
        case "GNU.sparse.offset":
        case "GNU.sparse.numbytes":
          this.#sparse ??= [];
          if ((this.#sparse.length % 2 === 0) !== (key === "GNU.sparse.offset"))
            throw new ArchiveError("a table of data that can't be read");
          this.#sparse.push(mapNumber(said));
          break;
        case "GNU.sparse.map":
          this.#sparse = mapOfText(said);
          break;
      }
    }
    entry.attributes = attributes;
    entry.size = this.#stored;
    const isSparse = this.#sparse !== undefined || major === "1";
    if (isSparse) {
      if (realSize === undefined) throw new ArchiveError("a sparse file that does not say how large it is");
      entry.size = realSize;
      entry.name = sparseName ?? entry.name;
    }
    return major === "1" ? "map in the data" : undefined;
  }

  /** All that precedes the data of a file has come. */
  #begin(): void {
    const stored = this.#left;
    if (this.#sparse !== undefined) checkMap(this.#sparse, this.#entry.size, stored);
    this.#state = "data";
    this.#part = 0;
    this.#position = 0;
    this.#handler.entry(this.#entry);
    if (stored === 0) this.#finishEntry();
  }

  #data(chunk: Buffer, at: number): number {
    const length = Math.min(this.#left, chunk.length - at);
    const whole = at === 0 && length === chunk.length;
    const bytes = whole ? chunk : chunk.subarray(at, at + length);
    this.#left -= length;
    if (this.#sparse === undefined) this.#handler.data(bytes);
    else this.#parts(this.#sparse, bytes);
    if (this.#left === 0) this.#finishEntry();
    return at + length;
  }

  /** Tells of the data of a sparse file part by part. */
  #parts(map: SparseMap, bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      const offset = map[this.#part]!;
      const end = offset + map[this.#part + 1]!;
      if (this.#position < offset) this.#holeTo(offset);
      const length = Math.min(end - this.#position, bytes.length - at);
      if (length > 0) this.#handler.data(bytes.subarray(at, at + length));
      at += length;
      this.#position += length;
      if (this.#position === end) this.#part += 2;
    }
  }

  #holeTo(offset: number): void {
    this.#handler.hole(offset - this.#position);
    this.#position = offset;
  }

  #finishEntry(): void {
    if (this.#sparse !== undefined && this.#position < this.#entry.size) this.#holeTo(this.#entry.size);
    this.#handler.entryEnd();
    this.#toPadding();
  }
}

function numberOf(key: string, said: string): number {
  const number = decimal(said);
  if (Number.isNaN(number)) throw new ArchiveError(`${key} is ${JSON.stringify(said)}`);
  return number;
}
