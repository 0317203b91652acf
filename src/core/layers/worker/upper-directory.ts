/** What is in the upper directory of an overlay, as a layer's archive. */
import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from "node:fs";
import { extendedAttributes } from "../../../system/linux/attributes.js";
import { Failure } from "../../failure/failure.js";
import { isKept } from "../attributes.js";
import { type ArchiveEntry, type Bytes, type EntryType, textOf } from "../tar/archive-entry.js";
import { ARCHIVE_END, headerOf, paddingOf } from "../tar/tar-writer.js";

/** In bytes: what is given at once. */
const PIECE = 1 << 18;
const WHITEOUT = ".wh.";
const OPAQUE = "trusted.overlay.opaque";
/** With these a file's data or name is somewhere else. */
const ELSEWHERE = ["trusted.overlay.redirect", "trusted.overlay.metacopy"];

const TYPES = new Map<number, EntryType>([
  [constants.S_IFREG, "file"],
  [constants.S_IFLNK, "symlink"],
  [constants.S_IFCHR, "character-device"],
  [constants.S_IFBLK, "block-device"],
  [constants.S_IFDIR, "directory"],
  [constants.S_IFIFO, "fifo"],
]);

/** Directories are found by their descriptors: whoever replaces one by a symbolic link meanwhile leads nowhere. */
function inside(directory: number, name: Bytes): Buffer {
  return Buffer.from(`/proc/self/fd/${directory}/${name}`, "latin1");
}

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** Should it be a FIFO by now, that must not wait for anybody. */
const FILE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** The archive, piece by piece; each is whoever's takes it. Sorted by bytes, a directory before what is in it. */
export function* archiveOf(upper: string): Generator<Buffer<ArrayBuffer>> {
  const directory = openSync(upper, constants.O_RDONLY | constants.O_DIRECTORY);
  const writer = new UpperDirectory();
  try {
    yield* collected(writer.all(directory));
  } finally {
    closeSync(directory);
  }
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

class UpperDirectory {
  /** First names of files that have several. */
  readonly #names = new Map<string, Bytes>();
  readonly #buffer = Buffer.allocUnsafe(PIECE);

  *all(root: number): Generator<Buffer> {
    yield* this.#directory(root, "", fstatSync(root, { bigint: true }));
    yield ARCHIVE_END;
  }

  *#directory(directory: number, path: Bytes, stats: BigIntStats): Generator<Buffer> {
    const attributes = this.#attributes(inside(directory, "."), path);
    yield headerOf(entryOf(path === "" ? "./" : `${path}/`, "directory", stats, attributes));
    if (attributes.get(OPAQUE)?.toString() === "y")
      yield headerOf(mark(`${path === "" ? "" : `${path}/`}.wh..wh..opq`, stats));
    for (const name of readdirSync(inside(directory, ""), { encoding: "latin1" }).sort(byBytes))
      yield* this.#child(directory, name, path === "" ? name : `${path}/${name}`);
  }

  *#child(parent: number, name: Bytes, path: Bytes): Generator<Buffer> {
    const file = inside(parent, name);
    const stats = lstatSync(file, { bigint: true, throwIfNoEntry: false });
    if (stats === undefined) return;
    if (name.startsWith(WHITEOUT)) throw unsayable(path, `no layer can have a name that begins with ${WHITEOUT}`);
    const type = TYPES.get(Number(stats.mode) & constants.S_IFMT);
    // Sockets belong to processes.
    if (type === undefined) return;
    if (type === "directory") {
      const directory = openSync(file, DIRECTORY);
      try {
        yield* this.#directory(directory, path, stats);
      } finally {
        closeSync(directory);
      }
      return;
    }
    if (type === "character-device" && stats.rdev === 0n) {
      yield headerOf(mark(path.slice(0, path.length - name.length) + WHITEOUT + name, stats));
      return;
    }
    const first = this.#firstName(stats, path);
    if (first !== undefined) {
      yield headerOf({ ...entryOf(path, "hardlink", stats, new Map()), target: first });
      return;
    }
    const entry = entryOf(path, type, stats, this.#attributes(file, path));
    if (type === "symlink") entry.target = readlinkSync(file, { encoding: "latin1" });
    if (type === "file") yield* this.#file(file, entry);
    else yield headerOf(entry);
  }

  #firstName(stats: BigIntStats, path: Bytes): Bytes | undefined {
    if (stats.nlink < 2n) return undefined;
    const key = `${stats.dev}:${stats.ino}`;
    const first = this.#names.get(key);
    if (first === undefined) this.#names.set(key, path);
    return first;
  }

  /** As many bytes as its header says, whatever becomes of the file meanwhile. */
  *#file(file: Buffer, entry: ArchiveEntry): Generator<Buffer> {
    const fd = openSync(file, FILE);
    try {
      const stats = fstatSync(fd);
      if (!stats.isFile()) throw unsayable(entry.name, "it is being changed");
      entry.size = stats.size;
      yield headerOf(entry);
      let left = entry.size;
      while (left > 0) {
        const length = readSync(fd, this.#buffer, 0, Math.min(left, PIECE), null);
        if (length === 0) break;
        left -= length;
        yield this.#buffer.subarray(0, length);
      }
      this.#buffer.fill(0);
      for (let zeros = left + paddingOf(entry.size); zeros > 0; zeros -= PIECE)
        yield this.#buffer.subarray(0, Math.min(zeros, PIECE));
    } finally {
      closeSync(fd);
    }
  }

  #attributes(file: Buffer, path: Bytes): Map<Bytes, Buffer> {
    const attributes = extendedAttributes(file);
    const elsewhere = ELSEWHERE.find((name) => attributes.has(name));
    if (elsewhere !== undefined) throw unsayable(path, `overlayfs has the rest of it elsewhere (${elsewhere})`);
    return attributes;
  }
}

function entryOf(name: Bytes, type: EntryType, stats: BigIntStats, attributes: Map<Bytes, Buffer>): ArchiveEntry {
  const nanoseconds = Number(((stats.mtimeNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n);
  const device = type.endsWith("device") ? Number(stats.rdev) : 0;
  return {
    name,
    type,
    target: "",
    mode: Number(stats.mode) & 0o7777,
    uid: Number(stats.uid),
    gid: Number(stats.gid),
    size: 0,
    mtime: Number((stats.mtimeNs - BigInt(nanoseconds)) / 1_000_000_000n),
    nanoseconds,
    major: (device >>> 8) & 0xfff,
    minor: (device & 0xff) | ((device >>> 12) & 0xfff00),
    attributes: new Map([...attributes].filter(([key]) => isKept(key)).sort(([a], [b]) => byBytes(a, b))),
  };
}

/** An empty file that says something of the layers below. */
function mark(name: Bytes, stats: BigIntStats): ArchiveEntry {
  return { ...entryOf(name, "file", stats, new Map()), mode: 0o644 };
}

function byBytes(a: Bytes, b: Bytes): number {
  return a < b ? -1 : 1;
}

function unsayable(path: Bytes, why: string): Failure {
  return new Failure("failed-precondition", "bad-diff", { path: textOf(path), why });
}
