/** A directory with all in it as a tar archive: what an overlay has in its upper one as a layer, or files as they are. */
import { type BigIntStats, closeSync, constants, fstatSync, openSync, readdirSync, readSync } from "node:fs";
import { type ArchiveEntry, type Bytes, type EntryType, textOf } from "../../contract/tar/archive-entry.js";
import { ARCHIVE_END, headerOf, paddingOf } from "../../contract/tar/tar-writer.js";
import { closeOpened, O_PATH, openAt, readLinkOpened } from "../../system/linux/at-calls.js";
import { attributesOfOpened } from "../../system/linux/attributes.js";
import { hasCode } from "../../system/linux/libc.js";
import { Failure } from "../failure/failure.js";
import type { FileOwners } from "../files/file-owners.js";
import { isKept } from "./attributes.js";

/** In bytes: what is given at once. */
const PIECE = 1 << 18;
/** Directories in each other that nobody makes but to do harm: each is open while it is gone through. */
const DEEPEST = 2048;
const WHITEOUT = ".wh.";
const OPAQUE = "trusted.overlay.opaque";
/** With these a file's data or name is somewhere else. */
const ELSEWHERE = ["trusted.overlay.redirect", "trusted.overlay.metacopy"];
const CAPABILITY = "security.capability";

const TYPES = new Map<number, EntryType>([
  [constants.S_IFREG, "file"],
  [constants.S_IFLNK, "symlink"],
  [constants.S_IFCHR, "character-device"],
  [constants.S_IFBLK, "block-device"],
  [constants.S_IFDIR, "directory"],
  [constants.S_IFIFO, "fifo"],
]);

const PLACE = O_PATH | constants.O_NOFOLLOW;

export interface TreeArchiveOptions {
  owners: FileOwners;
  /** Whether it is an upper directory, whose whiteouts and opaque directories are told as layers have them. */
  isLayer: boolean;
  /** Nanoseconds since the epoch: what has changed later is told as of then, and so is what was removed. */
  latest?: bigint | undefined;
  /** Whether only the name of a directory is told, and nothing in it. */
  isLeftOut?: (directory: number) => boolean;
}

/**
 * The archive of what is open as a place, piece by piece; each piece is whoever's takes it. Sorted by bytes, a directory before what is in
 * it. Others may change it meanwhile: each file is there as it was before or after, and nothing outside of the directory is read.
 * @param name of the first entry; "" for a directory that has none
 */
export function* archiveOf(place: number, name: Bytes, options: TreeArchiveOptions): Generator<Buffer<ArrayBuffer>> {
  yield* collected(new TreeArchive(options).all(place, name));
}

/** Puts small pieces together. */
function* collected(pieces: Iterable<Buffer>): Generator<Buffer<ArrayBuffer>> {
  let buffer = Buffer.allocUnsafeSlow(PIECE);
  let length = 0;
  for (const piece of pieces)
    for (let at = 0; at < piece.length; ) {
      const copied = piece.copy(buffer, length, at);
      at += copied;
      length += copied;
      if (length < PIECE) continue;
      yield buffer;
      buffer = Buffer.allocUnsafeSlow(PIECE);
      length = 0;
    }
  if (length > 0) yield buffer.subarray(0, length);
}

class TreeArchive {
  readonly #options: TreeArchiveOptions;
  /** First names of files that have several. */
  readonly #names = new Map<string, Bytes>();
  readonly #buffer = Buffer.allocUnsafe(PIECE);
  #depth = 0;

  constructor(options: TreeArchiveOptions) {
    this.#options = options;
  }

  *all(place: number, name: Bytes): Generator<Buffer> {
    yield* this.#place(place, name);
    yield ARCHIVE_END;
  }

  /** What is open as a place, of whatever kind. */
  *#place(place: number, path: Bytes): Generator<Buffer> {
    const stats = fstatSync(place, { bigint: true });
    const type = TYPES.get(Number(stats.mode) & constants.S_IFMT);
    // Sockets belong to processes.
    if (type === undefined) return;
    if (type === "directory") {
      yield* this.#directory(place, path, stats);
      return;
    }
    if (this.#options.isLayer && type === "character-device" && stats.rdev === 0n) {
      const name = path.lastIndexOf("/") + 1;
      yield headerOf(this.#mark(path.slice(0, name) + WHITEOUT + path.slice(name), stats));
      return;
    }
    const first = this.#firstName(stats, path);
    if (first !== undefined) {
      yield headerOf({ ...this.#entry(path, "hardlink", stats, new Map()), target: first });
      return;
    }
    const entry = this.#entry(path, type, stats, this.#attributes(place, path));
    if (type === "symlink") entry.target = readLinkOpened(place);
    if (type === "file") yield* this.#file(place, entry);
    else yield headerOf(entry);
  }

  *#directory(place: number, path: Bytes, stats: BigIntStats): Generator<Buffer> {
    const attributes = this.#attributes(place, path);
    yield headerOf(this.#entry(path === "" ? "./" : `${path}/`, "directory", stats, attributes));
    if (this.#options.isLeftOut?.(place)) return;
    if (this.#options.isLayer && attributes.get(OPAQUE)?.toString() === "y")
      yield headerOf(this.#mark(`${path === "" ? "" : `${path}/`}.wh..wh..opq`, stats));
    if (++this.#depth > DEEPEST) throw unsayable(path, `more than ${DEEPEST} directories in each other`);
    for (const name of readdirSync(`/proc/self/fd/${place}/.`, { encoding: "latin1" }).sort(byBytes))
      yield* this.#child(place, name, path === "" ? name : `${path}/${name}`);
    this.#depth--;
  }

  *#child(parent: number, name: Bytes, path: Bytes): Generator<Buffer> {
    if (this.#options.isLayer && name.startsWith(WHITEOUT))
      throw unsayable(path, `no layer can have a name that begins with ${WHITEOUT}`);
    let place: number;
    try {
      // Directories are found by their descriptors: whoever replaces one by a symbolic link meanwhile leads nowhere.
      place = openAt(parent, name, PLACE);
    } catch (error) {
      // Removed meanwhile.
      if (hasCode(error, "ENOENT")) return;
      throw error;
    }
    try {
      yield* this.#place(place, path);
    } finally {
      closeOpened(place);
    }
  }

  #firstName(stats: BigIntStats, path: Bytes): Bytes | undefined {
    if (stats.nlink < 2n) return undefined;
    const key = `${stats.dev}:${stats.ino}`;
    const first = this.#names.get(key);
    if (first === undefined) this.#names.set(key, path);
    return first;
  }

  /** As many bytes as its header says, whatever becomes of the file meanwhile. */
  *#file(place: number, entry: ArchiveEntry): Generator<Buffer> {
    const fd = openSync(`/proc/self/fd/${place}`, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      entry.size = fstatSync(fd).size;
      yield headerOf(entry);
      let left = entry.size;
      while (left > 0) {
        const length = readSync(fd, this.#buffer, 0, Math.min(left, PIECE), null);
        if (length === 0) break;
        left -= length;
        yield this.#buffer.subarray(0, length);
      }
      const zeros = left + paddingOf(entry.size);
      if (zeros > 0) this.#buffer.fill(0, 0, Math.min(zeros, PIECE));
      for (let more = zeros; more > 0; more -= PIECE) yield this.#buffer.subarray(0, Math.min(more, PIECE));
    } finally {
      closeSync(fd);
    }
  }

  #attributes(place: number, path: Bytes): Map<Bytes, Buffer> {
    const attributes = attributesOfOpened(place);
    if (!this.#options.isLayer) return attributes;
    const elsewhere = ELSEWHERE.find((name) => attributes.has(name));
    if (elsewhere !== undefined) throw unsayable(path, `overlayfs has the rest of it elsewhere (${elsewhere})`);
    return attributes;
  }

  /** When it has changed, in nanoseconds since the epoch, as it is told. */
  #timeOf({ mtimeNs }: BigIntStats): bigint {
    const { latest = mtimeNs } = this.#options;
    return mtimeNs > latest ? latest : mtimeNs;
  }

  #entry(
    name: Bytes,
    type: EntryType,
    stats: BigIntStats,
    attributes: Map<Bytes, Buffer>,
    time = this.#timeOf(stats),
  ): ArchiveEntry {
    const { owners } = this.#options;
    const nanoseconds = Number(((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n);
    const device = type.endsWith("device") ? Number(stats.rdev) : 0;
    const kept = new Map([...attributes].filter(([key]) => isKept(key)).sort(([a], [b]) => byBytes(a, b)));
    const capability = kept.get(CAPABILITY);
    if (capability !== undefined) kept.set(CAPABILITY, owners.capabilityInside(capability));
    return {
      name,
      type,
      target: "",
      mode: Number(stats.mode) & 0o7777,
      uid: owners.uidInside(Number(stats.uid)),
      gid: owners.gidInside(Number(stats.gid)),
      size: 0,
      mtime: Number((time - BigInt(nanoseconds)) / 1_000_000_000n),
      nanoseconds,
      major: (device >>> 8) & 0xfff,
      minor: (device & 0xff) | ((device >>> 12) & 0xfff00),
      attributes: kept,
    };
  }

  /** An empty file that says something of the layers below. */
  #mark(name: Bytes, stats: BigIntStats): ArchiveEntry {
    const time = this.#options.latest ?? stats.mtimeNs;
    return { ...this.#entry(name, "file", stats, new Map(), time), mode: 0o644 };
  }
}

function byBytes(a: Bytes, b: Bytes): number {
  return a < b ? -1 : 1;
}

function unsayable(path: Bytes, why: string): Failure {
  return new Failure("failed-precondition", "bad-diff", { path: textOf(path), why });
}
