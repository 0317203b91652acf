import type { ArchiveEntry, Bytes } from "../../contract/tar/archive-entry.js";
import { ArchiveError } from "../../contract/tar/archive-error.js";
import type { ArchiveHandler } from "../../contract/tar/tar-reader.js";
import { areaOfKept } from "./attributes.js";
import { BLOCK, deviceNumber, type Inode, S_IFBLK, S_IFCHR, S_IFIFO, S_IFLNK, S_IFREG } from "./erofs/format.js";
import { ImageFile } from "./erofs/image-file.js";
import {
  type Attributes,
  AUFS,
  COVERS,
  IMPLICIT,
  type LayerTree,
  LONGEST_NAME,
  NOTHING,
  OPAQUE,
  type Ref,
  ROOT,
} from "./layer-tree.js";

const WHITEOUT = ".wh.";
const OPAQUE_MARK = ".wh..wh..opq";

/** As the kernel: so many symbolic links on the way to a file, and bytes of a path. */
export const MAX_SYMLINKS = 40;
export const LONGEST_PATH = 4095;
/** Steps from directory to directory, of all entries together, for archives that make each of them long. */
const MAX_STEPS = 100_000_000;
/** In bytes: names of hard links whose target has not come yet. */
const MAX_PENDING = 32 << 20;

/** Instead of the type bits of a leaf that has no inode yet: a link to something that has not come; what hides something below. */
export const PENDING_TYPE = 0;
export const WHITEOUT_TYPE = 1;

const NONE = Buffer.alloc(0);

/** A hard link whose target is not in the layer, or comes later. */
export interface PendingLink {
  leaf: Ref;
  /** As the archive has them. */
  name: Bytes;
  target: Bytes;
}

interface FileUnderWay {
  attributes: Attributes;
  size: number;
  /** For errors. */
  name: Bytes;
  /** The entry of the tree that it will stand at. */
  at: number;
  /** The first block of its data. */
  place: number;
  /** Its last bytes go behind its inode. */
  isInline: boolean;
}

/**
 * Makes the entries of a layer's archive into files of an image and names in a tree, by the rules of layers: whiteouts; the last of two
 * entries with one name wins; parents may be missing; symbolic links among the parents lead to where they would in the image.
 */
export class LayerBuilder implements ArchiveHandler {
  readonly tree: LayerTree;
  readonly image: ImageFile;
  /** Hard links whose target is not in the layer so far. */
  pending: PendingLink[] = [];
  /** What links to something that came later lead to. */
  readonly aliases = new Map<Ref, Ref>();
  #pendingSize = 0;
  #steps = 0;
  /** The last entry's directory, which often is the next one's, as it was written. */
  #lastPath: Bytes = "";
  #lastDirectory = ROOT;

  #file: FileUnderWay | undefined;
  /** Of that file: what goes into blocks, what has come, and its last bytes. */
  #whole = 0;
  #written = 0;
  readonly #tail = Buffer.alloc(BLOCK);
  #tailLength = 0;

  constructor(tree: LayerTree, image: ImageFile) {
    this.tree = tree;
    this.image = image;
  }

  entry(entry: ArchiveEntry): void {
    try {
      this.#take(entry);
    } catch (error) {
      throw named(error, entry.name);
    }
  }

  #take(entry: ArchiveEntry): void {
    this.#file = undefined;
    const place = this.#placeOf(entry);
    if (place === undefined) {
      if (entry.type !== "directory")
        throw new ArchiveError(`the root of the image is no directory but a ${entry.type}`);
      this.#explicit(ROOT, entry);
      return;
    }
    const { directory, name } = place;
    if (name.startsWith(WHITEOUT) && this.#whiteout(directory, name)) return;
    this.#checkName(name);
    switch (entry.type) {
      case "file":
        this.#beginFile(attributesOf(entry), entry.size, entry.name, this.tree.entry(directory, name));
        return;
      case "directory":
        this.#directory(directory, name, entry);
        return;
      case "hardlink":
        this.#hardLink(this.tree.entry(directory, name), entry);
        return;
      case "symlink":
        if (entry.target === "" || entry.target.length > LONGEST_PATH)
          throw new ArchiveError(`a symbolic link with a target of ${entry.target.length} bytes`);
        this.#symlink(this.tree.entry(directory, name), entry);
        return;
      default:
        this.#device(this.tree.entry(directory, name), entry);
    }
  }

  data(bytes: Buffer): void {
    this.#ofFile(() => this.#data(bytes));
  }

  hole(size: number): void {
    this.#ofFile(() => this.#hole(size));
  }

  #ofFile(work: () => void): void {
    if (this.#file === undefined) return;
    try {
      work();
    } catch (error) {
      throw named(error, this.#file.name);
    }
  }

  #data(bytes: Buffer): void {
    const toBlocks = Math.min(bytes.length, Math.max(0, this.#whole - this.#written));
    if (toBlocks > 0) this.image.append(toBlocks === bytes.length ? bytes : bytes.subarray(0, toBlocks));
    if (toBlocks < bytes.length) {
      bytes.copy(this.#tail, this.#tailLength, toBlocks);
      this.#tailLength += bytes.length - toBlocks;
    }
    this.#written += bytes.length;
  }

  #hole(size: number): void {
    const inBlocks = Math.min(size, Math.max(0, this.#whole - this.#written));
    if (inBlocks > 0) this.image.skip(inBlocks);
    this.#tail.fill(0, this.#tailLength, this.#tailLength + size - inBlocks);
    this.#tailLength += size - inBlocks;
    this.#written += size;
  }

  entryEnd(): void {
    const file = this.#file;
    if (file !== undefined) this.#replace(file.at, this.#endFile(file));
  }

  /** Has something stand at an entry instead of what is there. */
  #replace(entry: number, ref: Ref): void {
    const former = this.tree.ref(entry);
    if (former !== NOTHING) this.#lastPath = "";
    this.tree.set(entry, ref);
  }

  /** The parts of a path, without those that lead nowhere; an ArchiveError for one that leads out of the root. */
  static parts(path: Bytes): Bytes[] {
    const parts: Bytes[] = [];
    for (const part of path.split("/")) {
      if (part === "" || part === ".") continue;
      if (part !== "..") parts.push(part);
      else if (parts.pop() === undefined) throw new ArchiveError("the path leads out of the image");
    }
    if (path.length > 2 * LONGEST_PATH || parts.join("/").length > LONGEST_PATH)
      throw new ArchiveError(`a path of ${path.length} bytes`);
    return parts;
  }

  /** Where an entry belongs; its parents are made where they are missing. Undefined for the root itself. */
  #placeOf(entry: ArchiveEntry): { directory: number; name: Bytes } | undefined {
    const { name } = entry;
    const slash = name.lastIndexOf("/", name.endsWith("/") ? name.length - 2 : name.length);
    const last = name.endsWith("/") ? name.slice(slash + 1, -1) : name.slice(slash + 1);
    const path = name.slice(0, slash + 1);
    const isPlain = last !== "" && last !== "." && last !== ".." && name.length <= LONGEST_PATH;
    if (isPlain && path === this.#lastPath && path !== "") return { directory: this.#lastDirectory, name: last };
    const parts = LayerBuilder.parts(name);
    const base = parts.pop();
    if (base === undefined) return undefined;
    const directory = this.#parent(parts, entry);
    if (base === last) {
      this.#lastPath = path;
      this.#lastDirectory = directory;
    }
    return { directory, name: base };
  }

  /** The directory that `parts` lead to; what is missing of it is made. */
  #parent(parts: readonly Bytes[], entry: ArchiveEntry): number {
    return this.#walk(parts, (directory, part, ref) => {
      if (ref === NOTHING || this.isWhiteout(ref)) return this.#implicit(directory, part, entry);
      throw new ArchiveError(`${JSON.stringify(this.tree.path(directory, part))} is in the way: no directory`);
    })!;
  }

  /**
   * Goes from directory to directory, by symbolic links too.
   * @param missing is asked for a directory where there is none; undefined ends the walk
   */
  #walk(
    parts: readonly Bytes[],
    missing: (directory: number, part: Bytes, ref: Ref) => number | undefined,
  ): number | undefined {
    let directory: number | undefined = ROOT;
    let links = 0;
    const rest = [...parts].reverse();
    for (let part = rest.pop(); part !== undefined && directory !== undefined; part = rest.pop()) {
      if (++this.#steps > MAX_STEPS) throw new ArchiveError("its symbolic links lead too far");
      if (part === "" || part === ".") continue;
      if (part === "..") {
        directory = this.tree.parentOf(directory);
        continue;
      }
      const ref: Ref = this.tree.lookup(directory, part);
      if (ref < 0) directory = -ref;
      else if (ref > 0 && this.tree.leafType(ref) === S_IFLNK) {
        if (++links > MAX_SYMLINKS) throw new ArchiveError("too many symbolic links on its path");
        const target = this.image.target(this.tree.inodeAt(ref));
        if (target.startsWith("/")) directory = ROOT;
        rest.push(...target.split("/").reverse());
      } else directory = missing(directory, part, ref);
    }
    return directory;
  }

  isWhiteout(ref: Ref): boolean {
    return ref > 0 && this.tree.leafType(ref) === WHITEOUT_TYPE;
  }

  #checkName(name: Bytes): void {
    if (name.length > LONGEST_NAME) throw new ArchiveError(`a name of ${name.length} bytes`);
    if (name.includes("\0")) throw new ArchiveError("a zero byte in the name");
  }

  /** A directory that is only there because something is in it. */
  #implicit(directory: number, name: Bytes, { mtime, nanoseconds }: ArchiveEntry): number {
    this.#checkName(name);
    if (name.startsWith(WHITEOUT) && !name.startsWith(AUFS))
      throw new ArchiveError(`${JSON.stringify(name)} is no directory but says that something is removed`);
    const entry = this.tree.entry(directory, name);
    const made = this.newDirectory(entry, IMPLICIT);
    this.tree.setAttributes(made, { mode: 0o755, uid: 0, gid: 0, mtime, nanoseconds, area: NONE });
    return made;
  }

  newDirectory(entry: number, flags: number): number {
    if (this.tree.ref(entry) !== NOTHING) this.#lastPath = "";
    return this.tree.addDirectory(entry, flags | (this.tree.isCovered(entry) ? COVERS : 0));
  }

  #directory(directory: number, name: Bytes, entry: ArchiveEntry): void {
    const at = this.tree.entry(directory, name);
    const ref = this.tree.ref(at);
    this.#explicit(ref < 0 ? -ref : this.newDirectory(at, 0), entry);
  }

  #explicit(directory: number, entry: ArchiveEntry): void {
    this.tree.setFlags(directory, this.tree.flags(directory) & ~IMPLICIT);
    this.tree.setAttributes(directory, attributesOf(entry));
  }

  /** True when the name says that something is removed, or that a directory is opaque. */
  #whiteout(directory: number, name: Bytes): boolean {
    if (name === OPAQUE_MARK) {
      this.tree.setFlags(directory, this.tree.flags(directory) | OPAQUE);
      return true;
    }
    if (name.startsWith(AUFS)) return false;
    const removed = name.slice(WHITEOUT.length);
    if (removed === "" || removed === "." || removed === "..")
      throw new ArchiveError("it says that nothing is removed");
    this.#checkName(removed);
    this.cover(this.tree.entry(directory, removed));
    return true;
  }

  /** Hides what the layers below have at an entry; what this layer has there stays. */
  cover(at: number): void {
    this.tree.setCovered(at);
    const ref = this.tree.ref(at);
    if (ref < 0) this.tree.setFlags(-ref, this.tree.flags(-ref) | COVERS);
    else if (ref === NOTHING) this.tree.set(at, this.tree.addLeaf(0, WHITEOUT_TYPE));
  }

  #beginFile(attributes: Attributes, size: number, name: Bytes, at: number): void {
    const tail = size % BLOCK;
    const isInline = ImageFile.fitsInline(attributes.area, tail);
    this.#whole = isInline ? size - tail : size;
    this.#written = 0;
    this.#tailLength = 0;
    this.#file = { attributes, size, name, at, place: this.#whole > 0 ? this.image.end / BLOCK : 0, isInline };
  }

  #endFile({ attributes, size, place, isInline }: FileUnderWay): Ref {
    this.#file = undefined;
    if (!isInline) this.image.align();
    const tail = isInline ? this.#tail.subarray(0, this.#tailLength) : NONE;
    const inode = this.image.addInode(inodeOf(attributes, S_IFREG, size), attributes.area, tail, place);
    return this.tree.addLeaf(inode, S_IFREG);
  }

  /** Adds a file that is no entry of the archive. */
  addFile(attributes: Attributes, size: number, pieces: Iterable<Buffer>): Ref {
    this.#beginFile(attributes, size, "", 0);
    for (const piece of pieces) this.#data(piece.subarray(0, size - this.#written));
    if (this.#written < size) throw new ArchiveError("its target has become shorter while it was read");
    return this.#endFile(this.#file!);
  }

  /** @param device as the kernel encodes it */
  addDevice(attributes: Attributes, type: number, device: number): Ref {
    return this.tree.addLeaf(this.image.addInode(inodeOf(attributes, type, 0), attributes.area, NONE, device), type);
  }

  /** To be called behind the last entry: finds the targets of hard links that have come after them. */
  linkLate(): void {
    this.pending = this.pending.filter(({ leaf, name, target }) => {
      try {
        const ref = this.#findTarget(target);
        if (ref < 0) throw new ArchiveError(`a hard link to the directory ${JSON.stringify(target)}`);
        if (ref === NOTHING || this.tree.leafType(ref) === PENDING_TYPE) return true;
        this.aliases.set(leaf, ref);
        return false;
      } catch (error) {
        throw named(error, name);
      }
    });
  }

  #symlink(at: number, entry: ArchiveEntry): void {
    this.#replace(at, this.addSymlink(attributesOf(entry), entry.target));
  }

  addSymlink(attributes: Attributes, target: Bytes): Ref {
    const { area } = attributes;
    const bytes = Buffer.from(target, "latin1");
    const isInline = ImageFile.fitsInline(area, bytes.length);
    const place = isInline ? 0 : this.image.end / BLOCK;
    if (!isInline) {
      this.image.append(bytes);
      this.image.align();
    }
    const inode = inodeOf({ ...attributes, mode: 0o777 }, S_IFLNK, bytes.length);
    return this.tree.addLeaf(this.image.addInode(inode, area, isInline ? bytes : NONE, place), S_IFLNK);
  }

  #device(at: number, entry: ArchiveEntry): void {
    const { major, minor, type } = entry;
    const bits = type === "fifo" ? S_IFIFO : type === "block-device" ? S_IFBLK : S_IFCHR;
    if (!(major >= 0 && major < 1 << 12 && minor >= 0 && minor < 1 << 20))
      throw new ArchiveError(`a device ${major}:${minor}`);
    if (bits === S_IFCHR && major === 0 && minor === 0)
      throw new ArchiveError("a character device 0:0: overlayfs would take it for a file that was removed");
    const place = bits === S_IFIFO ? 0 : deviceNumber(major, minor);
    this.#replace(at, this.addDevice(attributesOf(entry), bits, place));
  }

  #hardLink(at: number, { name, target }: ArchiveEntry): void {
    if (target === "") throw new ArchiveError("a hard link to nothing");
    const ref = this.#findTarget(target);
    if (ref < 0) throw new ArchiveError(`a hard link to the directory ${JSON.stringify(target)}`);
    if (ref > 0) {
      if (ref !== this.tree.ref(at)) this.#replace(at, ref);
      return;
    }
    this.#pendingSize += name.length + target.length + 64;
    if (this.#pendingSize > MAX_PENDING) throw new ArchiveError("too many hard links to what the layer does not have");
    const leaf = this.tree.addLeaf(0, PENDING_TYPE);
    this.pending.push({ leaf, name, target });
    this.#replace(at, leaf);
  }

  /** What a hard link's target is in the layer, if it is there: a symbolic link at its end is the target itself. */
  #findTarget(target: Bytes): Ref {
    const parts = LayerBuilder.parts(target);
    const base = parts.pop();
    if (base === undefined) return -ROOT;
    const directory = this.#walk(parts, () => undefined);
    if (directory === undefined) return NOTHING;
    const ref = this.tree.lookup(directory, base);
    return this.isWhiteout(ref) ? NOTHING : ref;
  }
}

/** An error about an entry that names it. */
export function named(error: unknown, name: Bytes): unknown {
  if (error instanceof ArchiveError && error.entry === undefined) return new ArchiveError(error.message, name);
  return error;
}

function inodeOf({ mode, uid, gid, mtime, nanoseconds }: Attributes, type: number, size: number): Inode {
  return { mode: type | mode, uid, gid, mtime, nanoseconds, links: 1, size };
}

function attributesOf(entry: ArchiveEntry): Attributes {
  const { mode, uid, gid, mtime, nanoseconds, attributes, type } = entry;
  const area = attributes === undefined ? NONE : areaOfKept(attributes, mode, type);
  return { mode, uid, gid, mtime, nanoseconds, area };
}
