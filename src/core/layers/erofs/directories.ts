/** Writes the directories of a tree, which ends the image. */

import { ArchiveError } from "../../../contract/tar/archive-error.js";
import { COVERS, type LayerTree, OPAQUE, type Ref, ROOT } from "../layer-tree.js";
import { DirectoryWriter, directorySize } from "./directory.js";
import {
  attributeArea,
  BLOCK,
  entryTypeOf,
  INODE,
  type Inode,
  putInode,
  ROOT_AT,
  S_IFCHR,
  S_IFDIR,
  SLOT,
} from "./format.js";
import type { ImageFile } from "./image-file.js";
import { Packer, WINDOW } from "./packer.js";

/** What overlayfs looks for. */
const OPAQUE_AREA = attributeArea(new Map([["trusted.overlay.opaque", Buffer.from("y")]]));
/** Of an attribute area, before its attributes. */
const AREA_HEAD = 12;

const DOT = Buffer.from(".");
const DOTS = Buffer.from("..");

export interface LeavesOf {
  /** What another leaf is a link to. */
  aliases: ReadonlyMap<Ref, Ref>;
  isWhiteout(ref: Ref): boolean;
}

/**
 * @param checkpoint is called now and then, and may throw
 * @returns how many entries there are
 */
export function writeDirectories(tree: LayerTree, image: ImageFile, leaves: LeavesOf, checkpoint: () => void): number {
  return new Directories(tree, image, leaves, checkpoint).write();
}

class Directories {
  readonly #tree: LayerTree;
  readonly #image: ImageFile;
  readonly #leaves: LeavesOf;
  readonly #checkpoint: () => void;
  readonly #order: Uint32Array;
  readonly #children: ReturnType<LayerTree["children"]>;
  /** Where the inode of each directory is, in bytes of the file, and how large its content is. */
  readonly #at: Float64Array;
  readonly #size: Float64Array;
  readonly #subdirectories: Uint32Array;
  readonly #links: Uint32Array;
  /** All whiteouts are one inode. */
  #whiteoutAt = 0;
  #whiteouts = 0;

  constructor(tree: LayerTree, image: ImageFile, leaves: LeavesOf, checkpoint: () => void) {
    this.#tree = tree;
    this.#image = image;
    this.#leaves = leaves;
    this.#checkpoint = checkpoint;
    this.#children = tree.children();
    this.#order = Uint32Array.from(tree.walk(this.#children, false));
    this.#at = new Float64Array(tree.directories + 1);
    this.#size = new Float64Array(tree.directories + 1);
    this.#subdirectories = new Uint32Array(tree.directories + 1);
    this.#links = new Uint32Array(tree.leaves + 1);
  }

  write(): number {
    let entries = 0;
    for (const directory of this.#order) entries += this.#measure(directory);
    const inodes = this.#writeLeaves();
    // Inodes in windows as those of files; behind them the blocks of large directories.
    const windows: Packer[] = [];
    const places = this.#place(windows);
    const begin = this.#image.reserve(windows.length === 0 ? 0 : places.size);
    for (const directory of this.#order) if (directory !== ROOT) this.#at[directory]! += begin;
    this.#at[ROOT] = ROOT_AT;
    const first = Buffer.alloc(BLOCK);
    this.#writeAll(begin, first);
    this.#image.finish(first, inodes + this.#order.length);
    return entries;
  }

  /** Sorts a directory and looks at what it has; returns the number of its entries. */
  #measure(directory: number): number {
    this.#checkpoint();
    const tree = this.#tree;
    const children = this.#children.of(directory);
    tree.sort(children);
    let count = 0;
    for (const entry of children) {
      if (tree.isAufs(entry)) continue;
      count++;
      const ref = tree.ref(entry);
      if (ref < 0) this.#subdirectories[directory]!++;
      else if (this.#leaves.isWhiteout(ref)) this.#whiteouts++;
      else this.#links[this.#leaf(ref)]!++;
    }
    this.#size[directory] = directorySize(this.#lengths(directory));
    return count;
  }

  *#lengths(directory: number): Generator<number> {
    for (const name of this.#names(directory))
      yield typeof name === "number" ? this.#tree.nameLength(name) : name.length;
  }

  /** Its entries in their order, and "." and ".." where they belong among them. */
  *#names(directory: number): Generator<number | Buffer> {
    const tree = this.#tree;
    const dots = [DOTS, DOT];
    for (const entry of this.#children.of(directory)) {
      if (tree.isAufs(entry)) continue;
      // Few names are before them.
      while (dots.length > 0 && Buffer.compare(tree.nameBytes(entry), dots.at(-1)!) > 0) yield dots.pop()!;
      yield entry;
    }
    while (dots.length > 0) yield dots.pop()!;
  }

  #leaf(ref: Ref): Ref {
    return this.#leaves.aliases.get(ref) ?? ref;
  }

  /** How many names each inode has; returns the number of inodes. */
  #writeLeaves(): number {
    if (this.#whiteouts > 0) {
      const inode = { mode: S_IFCHR, uid: 0, gid: 0, mtime: 0, nanoseconds: 0, links: this.#whiteouts, size: 0 };
      this.#whiteoutAt = this.#image.addInode(inode, Buffer.alloc(0), Buffer.alloc(0), 0);
    }
    this.#image.flush();
    let inodes = this.#whiteouts > 0 ? 1 : 0;
    for (let leaf = 1; leaf < this.#links.length; leaf++) {
      const links = this.#links[leaf]!;
      if (links === 0) continue;
      inodes++;
      if (links === 1) continue;
      this.#checkpoint();
      this.#image.setLinks(this.#tree.inodeAt(leaf), links);
    }
    return inodes;
  }

  #area(directory: number): Buffer {
    const { area } = this.#tree.attributes(directory);
    if (!(this.#tree.flags(directory) & (OPAQUE | COVERS))) return area;
    return area.length === 0 ? OPAQUE_AREA : Buffer.concat([area, OPAQUE_AREA.subarray(AREA_HEAD)]);
  }

  /** What of the content lies behind the inode, in bytes. */
  #tail(directory: number, area: Buffer): number {
    const tail = this.#size[directory]! % BLOCK;
    const room = directory === ROOT ? BLOCK - ROOT_AT : BLOCK;
    return INODE + area.length + tail <= room ? tail : 0;
  }

  /** Finds places for all inodes, counted from the first; windows follow each other. */
  #place(windows: Packer[]): { size: number } {
    let packer: Packer | undefined;
    for (const directory of this.#order) {
      const area = this.#area(directory);
      const length = INODE + area.length + this.#tail(directory, area);
      if (directory === ROOT) {
        // The first block has no room for more.
        if (length > BLOCK - ROOT_AT) throw new ArchiveError("its root directory has too many attributes");
        continue;
      }
      let at = packer?.place(length);
      if (at === undefined) {
        packer = new Packer();
        windows.push(packer);
        at = packer.place(length)!;
      }
      this.#at[directory] = (windows.length - 1) * WINDOW * BLOCK + at;
    }
    return { size: Math.max(0, windows.length - 1) * WINDOW * BLOCK + (packer?.used ?? 0) * BLOCK };
  }

  #writeAll(begin: number, first: Buffer): void {
    const window = Buffer.alloc(WINDOW * BLOCK);
    let current = 0;
    let used = 0;
    const flush = () => {
      this.#image.put(window.subarray(0, used), begin + current * window.length);
      window.fill(0, 0, used);
      used = 0;
    };
    for (const directory of this.#order) {
      this.#checkpoint();
      if (directory === ROOT) {
        this.#put(directory, first, ROOT_AT);
        continue;
      }
      const offset = this.#at[directory]! - begin;
      const index = Math.floor(offset / window.length);
      if (index !== current) {
        flush();
        current = index;
      }
      const end = this.#put(directory, window, offset % window.length);
      used = Math.max(used, Math.ceil(end / BLOCK) * BLOCK);
    }
    flush();
  }

  /** Writes a directory: its inode into `target`, its blocks to the end of the image; returns where the inode ends. */
  #put(directory: number, target: Buffer, at: number): number {
    const area = this.#area(directory);
    const size = this.#size[directory]!;
    const tail = this.#tail(directory, area);
    const content = this.#content(directory);
    const blocks = content.subarray(0, size - tail);
    const place = blocks.length > 0 ? this.#image.end / BLOCK : 0;
    this.#image.append(blocks);
    this.#image.align();
    putInode(target, at, this.#inode(directory), { inline: tail > 0, attributes: area.length, place });
    area.copy(target, at + INODE);
    content.copy(target, at + INODE + area.length, size - tail);
    return Math.ceil((at + INODE + area.length + tail) / SLOT) * SLOT;
  }

  #inode(directory: number): Inode {
    const { mode, uid, gid, mtime, nanoseconds } = this.#tree.attributes(directory);
    const links = 2 + this.#subdirectories[directory]!;
    return { mode: S_IFDIR | mode, uid, gid, mtime, nanoseconds, links, size: this.#size[directory]! };
  }

  #content(directory: number): Buffer {
    const tree = this.#tree;
    const writer = new DirectoryWriter(this.#size[directory]!);
    for (const name of this.#names(directory)) {
      if (typeof name !== "number") {
        const of = name === DOT ? directory : tree.parentOf(directory);
        writer.add(name, this.#at[of]!, entryTypeOf(S_IFDIR));
        continue;
      }
      const ref = tree.ref(name);
      if (ref < 0) writer.add(tree.nameBytes(name), this.#at[-ref]!, entryTypeOf(S_IFDIR));
      else if (this.#leaves.isWhiteout(ref)) writer.add(tree.nameBytes(name), this.#whiteoutAt, entryTypeOf(S_IFCHR));
      else {
        const leaf = this.#leaf(ref);
        writer.add(tree.nameBytes(name), tree.inodeAt(leaf), entryTypeOf(tree.leafType(leaf)));
      }
    }
    return writer.content();
  }
}
