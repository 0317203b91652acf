import {
  type BigIntStats,
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readSync,
  writeSync,
} from "node:fs";
import { type Bytes, textOf } from "../../../../contract/tar/archive-entry.js";
import {
  chownOpened,
  linkOpenedAt,
  mkdirAt,
  mknodAt,
  O_PATH,
  openAt,
  readLinkOpened,
  setTimesAt,
  symlinkAt,
} from "../../../../system/linux/at-calls.js";
import { attributesOfOpened, setAttributeOfOpened } from "../../../../system/linux/attributes.js";
import { cloneFile, nextData } from "../../../../system/linux/clone-file.js";
import { hasCode } from "../../../../system/linux/libc.js";
import { openInRoot } from "../../../../system/linux/openat2.js";
import { syncFileSystem } from "../../../../system/linux/sync-file-system.js";
import { Failure } from "../../../failure/failure.js";
import { FileOwners } from "../../../files/file-owners.js";
import type { CopyTask, PopulateTask } from "./messages.js";
import { DEEPEST } from "./names.js";

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;
const { S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK } = constants;
const PLACE = O_PATH | O_NOFOLLOW;
const CAPABILITY = "security.capability";
/** In bytes. */
const PIECE = 1 << 18;

/**
 * Copies what is in an upper directory of overlayfs, and what is known of that itself, to another one: whiteouts, attributes and hard links
 * as they are, owners as the other container has them. The data is shared with the source where the file system can.
 * @throws a system error; Failure
 */
export function copyTree({ from, to, fromMaps, toMaps }: CopyTask, alive: () => void): void {
  const source = openSync(from, O_RDONLY | O_DIRECTORY);
  try {
    const target = openSync(to, O_RDONLY | O_DIRECTORY);
    try {
      new Copy(new FileOwners(fromMaps), new FileOwners(toMaps), alive).root(source, target);
    } finally {
      closeSync(target);
    }
  } finally {
    closeSync(source);
  }
}

/**
 * Copies what an image has at a path, as far as that is a directory, and what is known of that itself.
 * @throws a system error; Failure (invalid-argument) when it is something else
 */
export function populate({ root, path, to, isLasting }: PopulateTask, alive: () => void): void {
  let source: number;
  try {
    source = openInRoot(root, path, O_RDONLY | O_DIRECTORY);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return;
    if (!hasCode(error, "ENOTDIR")) throw error;
    throw new Failure("invalid-argument", "container-files", {
      path: textOf(path),
      why: "a volume is a directory, and this is none in the image",
    });
  }
  try {
    const target = openSync(to, O_RDONLY | O_DIRECTORY);
    try {
      const asTheyAre = new FileOwners(undefined);
      new Copy(asTheyAre, asTheyAre, alive, IS_OF_OVERLAYFS).root(source, target);
      if (isLasting) syncFileSystem(target);
    } finally {
      closeSync(target);
    }
  } finally {
    closeSync(source);
  }
}

/** Attributes of files of a layer that mean nothing outside of it. */
const IS_OF_OVERLAYFS = /^trusted\.overlay\./;

class Copy {
  readonly #from: FileOwners;
  readonly #to: FileOwners;
  readonly #alive: () => void;
  /** Copies of files that have several names, open as places. */
  readonly #linked = new Map<string, number>();
  readonly #buffer = Buffer.allocUnsafe(PIECE);
  #canClone = true;
  #depth = 0;

  readonly #leftOut: RegExp | undefined;

  /** @param leftOut attributes that are not copied */
  constructor(from: FileOwners, to: FileOwners, alive: () => void, leftOut?: RegExp) {
    this.#from = from;
    this.#to = to;
    this.#alive = alive;
    this.#leftOut = leftOut;
  }

  root(source: number, target: number): void {
    try {
      this.#content(source, target, "");
      this.#finish(source, target, fstatSync(source, { bigint: true }));
      const { mtimeNs } = fstatSync(source, { bigint: true });
      setTimesAt(target, ".", ...timeOf(mtimeNs));
    } finally {
      for (const fd of this.#linked.values()) closeSync(fd);
    }
  }

  #content(source: number, target: number, path: Bytes): void {
    if (++this.#depth > DEEPEST) {
      const why = `more than ${DEEPEST} directories in each other`;
      throw new Failure("failed-precondition", "container-files", { path: textOf(path), why });
    }
    for (const name of readdirSync(`/proc/self/fd/${source}/.`, { encoding: "latin1" })) {
      this.#alive();
      let place: number;
      try {
        place = openAt(source, name, PLACE);
      } catch (error) {
        if (hasCode(error, "ENOENT")) continue;
        throw error;
      }
      try {
        this.#copy(place, target, name, `${path}/${name}`);
      } finally {
        closeSync(place);
      }
    }
    this.#depth--;
  }

  #copy(place: number, directory: number, name: Bytes, path: Bytes): void {
    const stats = fstatSync(place, { bigint: true });
    const type = Number(stats.mode) & S_IFMT;
    // Sockets belong to processes.
    if (type === S_IFSOCK) return;
    const key = type !== S_IFDIR && stats.nlink > 1n ? `${stats.dev}:${stats.ino}` : undefined;
    const linked = key === undefined ? undefined : this.#linked.get(key);
    if (linked !== undefined) {
      linkOpenedAt(linked, directory, name);
      return;
    }
    const copy = this.#make(place, directory, name, path, type, stats);
    try {
      this.#finish(place, copy, stats);
      setTimesAt(directory, name, ...timeOf(stats.mtimeNs));
    } catch (error) {
      closeSync(copy);
      throw error;
    }
    if (key === undefined) closeSync(copy);
    else this.#linked.set(key, copy);
  }

  /** @returns open, or open as a place */
  #make(place: number, directory: number, name: Bytes, path: Bytes, type: number, stats: BigIntStats): number {
    if (type === S_IFREG) return this.#file(place, directory, name);
    if (type === S_IFLNK) symlinkAt(readLinkOpened(place), directory, name);
    else if (type === S_IFDIR) mkdirAt(directory, name, 0o700);
    else mknodAt(directory, name, type | 0o600, Number(stats.rdev));
    const copy = openAt(directory, name, PLACE);
    try {
      if (type === S_IFDIR) this.#content(place, copy, path);
      return copy;
    } catch (error) {
      closeSync(copy);
      throw error;
    }
  }

  #file(place: number, directory: number, name: Bytes): number {
    const source = openSync(`/proc/self/fd/${place}`, O_RDONLY | O_NONBLOCK);
    try {
      const copy = openAt(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600);
      try {
        this.#data(source, copy);
        return copy;
      } catch (error) {
        closeSync(copy);
        throw error;
      }
    } finally {
      closeSync(source);
    }
  }

  #data(source: number, copy: number): void {
    const { size } = fstatSync(source);
    if (size === 0) return;
    if (this.#canClone && cloneFile(source, copy)) return;
    this.#canClone = false;
    if (size > PIECE) {
      this.#parts(source, copy, size);
      return;
    }
    const length = readSync(source, this.#buffer, 0, size, 0);
    writeAll(copy, this.#buffer.subarray(0, length), 0);
  }

  /** Of a large file: holes stay holes. */
  #parts(source: number, copy: number, size: number): void {
    for (let data = nextData(source, 0); data !== undefined; data = nextData(source, data.end))
      for (let at = data.begin; at < data.end; ) {
        this.#alive();
        const length = readSync(source, this.#buffer, 0, Math.min(PIECE, data.end - at), at);
        if (length === 0) break;
        writeAll(copy, this.#buffer.subarray(0, length), at);
        at += length;
      }
    ftruncateSync(copy, size);
  }

  /** Owner, attributes and mode. */
  #finish(source: number, copy: number, { uid, gid, mode }: BigIntStats): void {
    chownOpened(copy, this.#uid(Number(uid)), this.#gid(Number(gid)));
    for (const [name, value] of attributesOfOpened(source)) {
      if (this.#leftOut?.test(name)) continue;
      const given = name === CAPABILITY ? this.#to.capabilityOutside(this.#from.capabilityInside(value)) : value;
      setAttributeOfOpened(copy, name, given);
    }
    const type = Number(mode) & S_IFMT;
    if (type === S_IFREG) fchmodSync(copy, Number(mode) & 0o7777);
    else if (type !== S_IFLNK) chmodSync(`/proc/self/fd/${copy}`, Number(mode) & 0o7777);
  }

  /** Who means nothing to the one container means nothing to the other. */
  #uid(uid: number): number {
    return this.#to.uidOutside(this.#from.uidInside(uid)) ?? uid;
  }

  #gid(gid: number): number {
    return this.#to.gidOutside(this.#from.gidInside(gid)) ?? gid;
  }
}

function writeAll(fd: number, bytes: Buffer, position: number): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at, bytes.length - at, position + at);
}

/** Whole seconds, rounded down, and nanoseconds. */
function timeOf(nanoseconds: bigint): [seconds: number, nanoseconds: number] {
  const rest = ((nanoseconds % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return [Number((nanoseconds - rest) / 1_000_000_000n), Number(rest)];
}
