import { randomBytes } from "node:crypto";
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  ftruncateSync,
  readdirSync,
  writeSync,
} from "node:fs";
import type { ArchiveEntry, Bytes } from "../../../../contract/tar/archive-entry.js";
import { ArchiveError } from "../../../../contract/tar/archive-error.js";
import type { ArchiveHandler } from "../../../../contract/tar/tar-reader.js";
import {
  chownOpened,
  linkOpenedAt,
  mkdirAt,
  mknodAt,
  O_PATH,
  O_TMPFILE,
  openAt,
  readLinkOpened,
  renameAt,
  rmdirAt,
  setTimes,
  setTimesAt,
  symlinkAt,
  unlinkAt,
} from "../../../../system/linux/at-calls.js";
import { setAttributeOfOpened } from "../../../../system/linux/attributes.js";
import { makeAs } from "../../../../system/linux/creator.js";
import { hasCode } from "../../../../system/linux/libc.js";
import { openBeneath, openInRoot } from "../../../../system/linux/openat2.js";
import { FileOwners } from "../../../files/file-owners.js";
import { deviceNumber } from "../../../layers/erofs/format.js";
import { isKernels } from "./file-systems.js";
import type { PutTask } from "./messages.js";
import { DEEPEST, partsOf } from "./names.js";

const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;
const { S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT } = constants;

/** Of directories that an archive does not name, but has something in. */
const IMPLICIT_MODE = 0o755;
/** So many directories stay open, each found by its path. */
const OPEN_AT_ONCE = 64;
/** In bytes: of the names of directories that get their times at the end. */
const MAX_TIMES = 64 << 20;

const CAPABILITY = "security.capability";
/** In bytes, of the name of an attribute, as the kernel takes it. */
const LONGEST_ATTRIBUTE = 255;

interface NewFile {
  fd: number;
  /** Of the directory that it goes into. */
  directory: number;
  name: Bytes;
  /** Its name until it is whole; undefined: it has none. */
  temporary: Bytes | undefined;
  path: Bytes;
  position: number;
  size: number;
  /** Whether what has come last is a hole: nothing has been written that reaches so far. */
  endsInHole: boolean;
}

interface Attributes {
  uid: number;
  gid: number;
  mode: number;
  mtime: number;
  nanoseconds: number;
  attributes: ReadonlyMap<Bytes, Buffer> | undefined;
}

/**
 * Puts what an archive has into a directory below a root, which others may change meanwhile: no path and no link leads out of the root.
 * Directories are found by the kernel, with the root as the root of all links; what is in them is only touched by their descriptors. A file
 * gets its name once it is whole, in place of what had it before.
 */
export class TreeWriter implements ArchiveHandler {
  readonly #task: PutTask;
  readonly #owners: FileOwners;
  readonly #owner: { uid: number; gid: number } | undefined;
  /** Of the directory that all goes into, "" or `/…`. */
  readonly #base: Bytes;
  /** By path from the root, those used last at the end. */
  readonly #open = new Map<Bytes, number>();
  /** What directories get at the end, when nothing is put into them any more. */
  readonly #times = new Map<Bytes, { mtime: number; nanoseconds: number }>();
  #timesSize = 0;
  #file: NewFile | undefined;
  #attributes: Attributes | undefined;
  #hasUnnamed = true;
  readonly #alive: () => void;

  /** @param alive called now and then during what takes long; what it throws ends the work */
  constructor(task: PutTask, alive: () => void) {
    this.#task = task;
    this.#alive = alive;
    this.#owners = new FileOwners(task.idMaps);
    const { owner } = task;
    this.#owner = owner && this.#outside(owner.uid, owner.gid);
    const parts = partsOf(task.path) ?? [];
    this.#base = parts.map((part) => `/${part}`).join("");
    this.#directory(this.#base);
  }

  entry(entry: ArchiveEntry): void {
    this.#alive();
    const parts = partsOf(entry.name);
    if (parts === undefined) throw new ArchiveError("its name leads out of the directory");
    const name = parts.pop();
    // The directory itself is whoever's made it.
    if (name === undefined) {
      if (entry.type === "directory") return;
      throw new ArchiveError("it has the name of the directory that all goes into");
    }
    if (parts.length >= DEEPEST) throw new ArchiveError(`more than ${DEEPEST} directories in each other`);
    const parent = parts.length === 0 ? this.#base : `${this.#base}/${parts.join("/")}`;
    const path = `${parent}/${name}`;
    const directory = this.#directory(parent);
    switch (entry.type) {
      case "file":
        this.#beginFile(directory, name, path, entry.size);
        this.#attributes = this.#attributesOf(entry);
        break;
      case "directory":
        this.#putDirectory(directory, name, path, this.#attributesOf(entry));
        break;
      case "symlink":
        this.#putLink(directory, name, path, entry.target, this.#attributesOf(entry));
        break;
      case "hardlink":
        this.#putHardLink(directory, name, path, entry.target);
        break;
      case "fifo":
        this.#putNode(directory, name, path, S_IFIFO, 0, this.#attributesOf(entry));
        break;
      default:
        this.#putDevice(directory, name, path, entry);
    }
  }

  data(bytes: Buffer): void {
    const file = this.#file!;
    if (bytes.length > 0) file.endsInHole = false;
    for (let at = 0; at < bytes.length; ) {
      const written = writeSync(file.fd, bytes, at, bytes.length - at, file.position);
      at += written;
      file.position += written;
    }
  }

  hole(size: number): void {
    const file = this.#file!;
    file.position += size;
    if (size > 0) file.endsInHole = true;
  }

  entryEnd(): void {
    const file = this.#file;
    if (file === undefined) return;
    const { fd, size, directory, name, path, temporary } = file;
    const attributes = this.#attributes!;
    if (file.endsInHole) ftruncateSync(fd, size);
    fchownSync(fd, attributes.uid, attributes.gid);
    this.#setAttributes(fd, attributes);
    fchmodSync(fd, attributes.mode);
    setTimes(fd, attributes.mtime, attributes.nanoseconds);
    if (temporary !== undefined) this.#moveTo(directory, temporary, name, path);
    else this.#link(fd, directory, name, path);
    this.#file = undefined;
    closeSync(fd);
  }

  /** All has come: directories get their times. */
  finish(): void {
    for (const [path, { mtime, nanoseconds }] of this.#times) {
      this.#alive();
      let fd: number;
      try {
        fd = openInRoot(this.#task.root, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      } catch (error) {
        // Somebody has changed it meanwhile.
        if (["ENOENT", "ENOTDIR", "ELOOP"].some((code) => hasCode(error, code))) continue;
        throw error;
      }
      try {
        if (!isKernels(fd)) setTimes(fd, mtime, nanoseconds);
      } finally {
        closeSync(fd);
      }
    }
  }

  /** What is not whole goes. */
  close(): void {
    const file = this.#file;
    if (file !== undefined) {
      closeSync(file.fd);
      if (file.temporary !== undefined) unlinkAt(file.directory, file.temporary);
    }
    this.#file = undefined;
    for (const fd of this.#open.values()) closeSync(fd);
    this.#open.clear();
  }

  #outside(uid: number, gid: number): { uid: number; gid: number } {
    const outside = { uid: this.#owners.uidOutside(uid), gid: this.#owners.gidOutside(gid) };
    if (outside.uid === undefined) throw new ArchiveError(`owner ${uid} is none of the ids of the container`);
    if (outside.gid === undefined) throw new ArchiveError(`group ${gid} is none of the ids of the container`);
    return { uid: outside.uid, gid: outside.gid };
  }

  #attributesOf({ uid, gid, mode, mtime, nanoseconds, attributes }: ArchiveEntry): Attributes {
    return { ...(this.#owner ?? this.#outside(uid, gid)), mode, mtime, nanoseconds, attributes };
  }

  /**
   * Gives a directory something new. A file system that belongs to the container's user namespace, as a tmpfs that was mounted there, has
   * no owners but the container's: there it is made by the root of that.
   */
  #make<T>(make: () => T): T {
    try {
      return make();
    } catch (error) {
      const uid = this.#owners.uidOutside(0);
      const gid = this.#owners.gidOutside(0);
      const isForeign = this.#owners.areMapped && uid !== undefined && gid !== undefined;
      if (!isForeign || !hasCode(error, "EOVERFLOW")) throw error;
      return makeAs(uid, gid, make);
    }
  }

  /** Opened as a place only. What is missing of it is made. */
  #directory(path: Bytes): number {
    const known = this.#open.get(path);
    if (known !== undefined) return known;
    const fd = this.#openDirectory(path);
    if (this.#open.size >= OPEN_AT_ONCE) this.#closeOne();
    this.#open.set(path, fd);
    return fd;
  }

  /** The one that was opened first, except where a file is being written. */
  #closeOne(): void {
    for (const [path, fd] of this.#open) {
      if (fd === this.#file?.directory) continue;
      this.#open.delete(path);
      closeSync(fd);
      return;
    }
  }

  #openDirectory(path: Bytes): number {
    const { root } = this.#task;
    // From the first that is there: paths need not be short.
    const parts = path.split("/").slice(1);
    let missing = 0;
    let fd: number;
    for (;;) {
      try {
        fd = openInRoot(root, `/${parts.slice(0, parts.length - missing).join("/")}`, O_PATH | O_DIRECTORY);
        break;
      } catch (error) {
        if (!hasCode(error, "ENOENT") || missing === parts.length) throw error;
        missing++;
      }
    }
    try {
      this.#requireFiles(fd, path);
      for (const part of parts.slice(parts.length - missing)) {
        const below = this.#makeImplicit(fd, part);
        closeSync(fd);
        fd = below;
      }
      return fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  #makeImplicit(directory: number, name: Bytes): number {
    try {
      this.#make(() => mkdirAt(directory, name, IMPLICIT_MODE));
    } catch (error) {
      // Somebody else was faster; a link that leads nowhere is no directory.
      if (!hasCode(error, "EEXIST")) throw error;
      return openAt(directory, name, O_PATH | O_DIRECTORY | O_NOFOLLOW);
    }
    const fd = openAt(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      const { uid, gid } = this.#owner ?? this.#outside(0, 0);
      fchownSync(fd, uid, gid);
      fchmodSync(fd, IMPLICIT_MODE);
      return fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  #requireFiles(fd: number, path: Bytes): void {
    if (isKernels(fd)) throw new ArchiveError(`nothing can be put into ${path}: these are the kernel's own files`);
  }

  /** Another file has the path now. */
  #forget(path: Bytes): void {
    const below = `${path}/`;
    for (const [known, fd] of this.#open)
      if (known === path || known.startsWith(below)) {
        this.#open.delete(known);
        closeSync(fd);
      }
    if (!this.#times.delete(path)) return;
    for (const known of this.#times.keys()) if (known.startsWith(below)) this.#times.delete(known);
  }

  #putDirectory(parent: number, name: Bytes, path: Bytes, attributes: Attributes): void {
    const fd = this.#makeDirectory(parent, name, path);
    try {
      fchownSync(fd, attributes.uid, attributes.gid);
      this.#setAttributes(fd, attributes);
      fchmodSync(fd, attributes.mode);
      setTimes(fd, attributes.mtime, attributes.nanoseconds);
    } finally {
      closeSync(fd);
    }
    this.#timesSize += path.length;
    if (this.#timesSize > MAX_TIMES) throw new ArchiveError("the names of its directories are too long together");
    this.#times.set(path, { mtime: attributes.mtime, nanoseconds: attributes.nanoseconds });
  }

  #makeDirectory(parent: number, name: Bytes, path: Bytes): number {
    const flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
    for (;;) {
      try {
        this.#make(() => mkdirAt(parent, name, 0o700));
        return openAt(parent, name, flags);
      } catch (error) {
        if (!hasCode(error, "EEXIST")) throw error;
      }
      try {
        const fd = openAt(parent, name, flags);
        this.#requireFiles(fd, path);
        return fd;
      } catch (error) {
        if (hasCode(error, "ENOENT")) continue;
        if (!hasCode(error, "ENOTDIR") && !hasCode(error, "ELOOP")) throw error;
      }
      if (this.#task.keepKinds) throw new ArchiveError("a directory, where there is a file");
      this.#forget(path);
      unlinkAt(parent, name);
    }
  }

  #beginFile(directory: number, name: Bytes, path: Bytes, size: number): void {
    const file = { directory, name, path, position: 0, size, endsInHole: false };
    if (this.#hasUnnamed)
      try {
        const fd = this.#make(() => openAt(directory, ".", O_TMPFILE | O_WRONLY, 0o600));
        this.#file = { ...file, fd, temporary: undefined };
        return;
      } catch (error) {
        // Not every file system has them; overlayfs since Linux 6.1.
        if (!["EOPNOTSUPP", "EISDIR", "EINVAL"].some((code) => hasCode(error, code))) throw error;
        this.#hasUnnamed = false;
      }
    const temporary = temporaryName();
    const flags = O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW;
    const fd = this.#make(() => openAt(directory, temporary, flags, 0o600));
    this.#file = { ...file, fd, temporary };
  }

  /** Gives a name to what is open, in place of what has it. */
  #link(fd: number, directory: number, name: Bytes, path: Bytes): void {
    try {
      this.#make(() => linkOpenedAt(fd, directory, name));
      return;
    } catch (error) {
      if (!hasCode(error, "EEXIST")) throw error;
    }
    const temporary = temporaryName();
    this.#make(() => linkOpenedAt(fd, directory, temporary));
    this.#moveTo(directory, temporary, name, path);
  }

  /** Has `temporary` replace what has the name. */
  #moveTo(directory: number, temporary: Bytes, name: Bytes, path: Bytes): void {
    try {
      for (;;) {
        try {
          this.#make(() => renameAt(directory, temporary, name));
          this.#forget(path);
          if (this.#file !== undefined) this.#file.temporary = undefined;
          return;
        } catch (error) {
          if (!hasCode(error, "EISDIR")) throw error;
        }
        if (this.#task.keepKinds) throw new ArchiveError("a file, where there is a directory");
        this.#forget(path);
        this.#remove(directory, name, 0);
      }
    } catch (error) {
      unlinkAt(directory, temporary);
      if (this.#file !== undefined) this.#file.temporary = undefined;
      throw error;
    }
  }

  /** A directory with all in it, except for what is mounted there. */
  #remove(parent: number, name: Bytes, depth: number): void {
    if (depth > DEEPEST) throw new ArchiveError(`it replaces more than ${DEEPEST} directories in each other`);
    const fd = openBeneath(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    try {
      for (const child of readdirSync(`/proc/self/fd/${fd}`, { encoding: "latin1" })) {
        this.#alive();
        try {
          unlinkAt(fd, child);
        } catch (error) {
          if (hasCode(error, "EISDIR")) this.#remove(fd, child, depth + 1);
          else if (!hasCode(error, "ENOENT")) throw error;
        }
      }
    } finally {
      closeSync(fd);
    }
    rmdirAt(parent, name);
  }

  #putLink(directory: number, name: Bytes, path: Bytes, target: Bytes, attributes: Attributes): void {
    const { uid, gid, mtime, nanoseconds } = attributes;
    if (target === "") throw new ArchiveError("a symbolic link to nothing");
    this.#putNamed(directory, name, path, {
      make: (as) => symlinkAt(target, directory, as),
      isIt: (fd) => (fstatSync(fd).mode & S_IFMT) === S_IFLNK && readLinkOpened(fd) === target,
      finish: (fd, as) => {
        chownOpened(fd, uid, gid);
        setTimesAt(directory, as, mtime, nanoseconds);
      },
    });
  }

  #putNode(
    directory: number,
    name: Bytes,
    path: Bytes,
    type: number,
    device: number,
    { uid, gid, mode, mtime, nanoseconds }: Attributes,
  ): void {
    this.#putNamed(directory, name, path, {
      make: (as) => mknodAt(directory, as, type | 0o600, device),
      isIt: (fd) => {
        const stats = fstatSync(fd);
        return (stats.mode & S_IFMT) === type && stats.nlink === 1 && stats.rdev === device;
      },
      finish: (fd, as) => {
        chownOpened(fd, uid, gid);
        chmodPlace(fd, mode);
        setTimesAt(directory, as, mtime, nanoseconds);
      },
    });
  }

  #putDevice(directory: number, name: Bytes, path: Bytes, entry: ArchiveEntry): void {
    const { major, minor } = entry;
    if (!this.#task.devices)
      throw new ArchiveError("a device: a container with a user namespace of its own gets none by an archive");
    if (!(major >= 0 && major < 1 << 12 && minor >= 0 && minor < 1 << 20))
      throw new ArchiveError(`a device ${major}:${minor}`);
    const type = entry.type === "block-device" ? S_IFBLK : S_IFCHR;
    if (type === S_IFCHR && major === 0 && minor === 0)
      throw new ArchiveError("a character device 0:0: overlayfs would take it for a file that was removed");
    this.#putNode(directory, name, path, type, deviceNumber(major, minor), this.#attributesOf(entry));
  }

  /** Makes what has a name from the beginning under one that nobody knows, and looks whether it is still that before it is changed. */
  #putNamed(directory: number, name: Bytes, path: Bytes, how: NamedFile): void {
    const temporary = temporaryName();
    this.#make(() => how.make(temporary));
    try {
      const fd = openAt(directory, temporary, O_PATH | O_NOFOLLOW);
      try {
        if (!how.isIt(fd)) throw new ArchiveError("somebody in the container replaces files while they come in");
        how.finish(fd, temporary);
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      unlinkAt(directory, temporary);
      throw error;
    }
    this.#moveTo(directory, temporary, name, path);
  }

  #putHardLink(directory: number, name: Bytes, path: Bytes, target: Bytes): void {
    const parts = partsOf(target);
    if (parts === undefined) throw new ArchiveError("a hard link that leads out of the directory");
    if (parts.length === 0) throw new ArchiveError("a hard link to a directory");
    const fd = openInRoot(this.#task.root, `${this.#base}/${parts.join("/")}`, O_PATH | O_NOFOLLOW);
    try {
      const stats = fstatSync(fd, { bigint: true });
      if ((Number(stats.mode) & S_IFMT) === S_IFDIR) throw new ArchiveError("a hard link to a directory");
      this.#requireFiles(fd, target);
      // Two names of one file are not exchanged by a rename: the temporary one would stay.
      if (isSame(directory, name, stats)) return;
      this.#link(fd, directory, name, path);
    } finally {
      closeSync(fd);
    }
  }

  #setAttributes(fd: number, { attributes }: Attributes): void {
    if (attributes === undefined) return;
    for (const [name, value] of attributes) {
      if (name.length > LONGEST_ATTRIBUTE || name.includes("\0"))
        throw new ArchiveError(`an attribute with a name of ${name.length} bytes`);
      const isCapability = name === CAPABILITY;
      // Others are the machine's, or overlayfs'.
      if (!isCapability && !name.startsWith("user.")) continue;
      try {
        setAttributeOfOpened(fd, name, isCapability ? this.#owners.capabilityOutside(value) : value);
      } catch (error) {
        // Not every file system has them.
        if (isCapability || !hasCode(error, "EOPNOTSUPP")) throw error;
      }
    }
  }
}

interface NamedFile {
  make(name: Bytes): void;
  /** @param fd opened as a place only */
  isIt(fd: number): boolean;
  finish(fd: number, name: Bytes): void;
}

function isSame(directory: number, name: Bytes, { dev, ino }: { dev: bigint; ino: bigint }): boolean {
  let fd: number;
  try {
    fd = openAt(directory, name, O_PATH | O_NOFOLLOW);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return false;
    throw error;
  }
  try {
    const there = fstatSync(fd, { bigint: true });
    return there.dev === dev && there.ino === ino;
  } finally {
    closeSync(fd);
  }
}

/** Of what was opened as a place: fchmod takes no such descriptor. */
function chmodPlace(fd: number, mode: number): void {
  chmodSync(`/proc/self/fd/${fd}`, mode);
}

function temporaryName(): Bytes {
  return `.containerd-${randomBytes(12).toString("hex")}`;
}
