import { closeSync, constants, lstatSync, openSync, readdirSync, readlinkSync, readSync, type Stats } from "node:fs";
import type { Bytes } from "../../contract/tar/archive-entry.js";
import { ArchiveError } from "../../contract/tar/archive-error.js";
import { extendedAttributes } from "../../system/linux/attributes.js";
import { areaOfKept } from "./attributes.js";
import { S_IFBLK, S_IFCHR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG } from "./erofs/format.js";
import { LayerBuilder, LONGEST_PATH, MAX_SYMLINKS, named, type PendingLink } from "./layer-builder.js";
import {
  type Attributes,
  type Children,
  COVERS,
  IMPLICIT,
  type LayerTree,
  NOTHING,
  OPAQUE,
  type Ref,
  ROOT,
} from "./layer-tree.js";

/** What is known of a directory's place in the layers below. */
const UNKNOWN = 0;
/** They have no directory there, or it is hidden. */
const ABSENT = 1;
/** They have a directory there, by the same path, without any symbolic link on it. */
const PRESENT = 2;
/** They have a symbolic link there, which is being followed. */
const FOLLOWED = 3;

/** A directory on a path as a container sees it: what the layer has of it (0: nothing), and where the layers below have it. */
interface Step {
  name: Bytes;
  directory: number;
  below: Bytes | undefined;
}

/** What stands at a name. */
type Found =
  | { is: "nothing" }
  | { is: "directory"; step: Step }
  | { is: "link"; target: Bytes }
  | { is: "leaf"; ref: Ref }
  | { is: "below"; path: Bytes; stats: Stats };

/**
 * What a layer takes from the layers below: attributes of directories that it does not name, the places where symbolic links lead that
 * stand there, and the targets of hard links. No link is ever followed by the kernel, so none leads out of where the layers are mounted.
 */
export class LayersBelow {
  readonly #builder: LayerBuilder;
  readonly #tree: LayerTree;
  readonly #root: Bytes | undefined;
  #states: Uint8Array;
  #nested = 0;
  readonly #pending: Map<Ref, PendingLink>;
  readonly #copies = new Map<string, Ref>();
  readonly #children: Children;

  /** @param root where the layers below are mounted; undefined when there are none */
  constructor(builder: LayerBuilder, root: string | undefined) {
    this.#builder = builder;
    this.#tree = builder.tree;
    this.#children = builder.tree.children();
    this.#root = root === undefined ? undefined : Buffer.from(root).toString("latin1");
    this.#states = new Uint8Array(builder.tree.directories * 2 + 2);
    this.#states[ROOT] = root === undefined ? ABSENT : PRESENT;
    this.#pending = new Map(builder.pending.map((link) => [link.leaf, link]));
  }

  /** Whether a layer would be another one on other layers. To be asked once all of its entries are known. */
  static areNeeded({ tree, pending }: LayerBuilder): boolean {
    if (pending.length > 0 || (tree.flags(ROOT) & OPAQUE) !== 0) return true;
    for (const at of tree.walk(tree.children(), true)) if (at !== ROOT && isImplicit(tree, at)) return true;
    return false;
  }

  /** Directories that the layer does not name become what they are below, or move to where a symbolic link leads there. */
  settle(): void {
    if (this.#root === undefined) return;
    if (this.#tree.flags(ROOT) & OPAQUE) this.#hideAll(this.#root);
    for (const directory of [...this.#tree.walk(this.#children, true)])
      if (isImplicit(this.#tree, directory)) this.#settle(directory);
  }

  /** Overlayfs does not look whether a root directory is opaque: what it would hide is hidden name by name. */
  #hideAll(root: Bytes): void {
    for (const name of readdirSync(Buffer.from(root, "latin1"), "latin1"))
      this.#builder.cover(this.#tree.entry(ROOT, name));
  }

  /** Finds what the hard links lead to that had no target yet. */
  link(): void {
    const wanted = new Set<Ref>();
    for (let entry = 1; entry <= this.#tree.entries; entry++) wanted.add(this.#tree.ref(entry));
    for (const link of this.#builder.pending) {
      if (!wanted.has(link.leaf) || this.#builder.aliases.has(link.leaf)) continue;
      try {
        this.#link(link);
      } catch (error) {
        throw named(error, link.name);
      }
    }
  }

  /** Follows a link, which may lead to other links, to a file. */
  #link(first: PendingLink): void {
    const { aliases } = this.#builder;
    const followed: Ref[] = [];
    let end: Ref | undefined;
    for (let link: PendingLink | undefined = first; link !== undefined; ) {
      const { leaf, target } = link;
      followed.push(leaf);
      aliases.set(leaf, leaf);
      const ref = this.#targetOf(target);
      if (ref === undefined)
        throw new ArchiveError(`its target ${JSON.stringify(target)} is neither in the layer nor in those below`);
      if (aliases.get(ref) === ref) throw new ArchiveError("hard links that lead to each other");
      end = aliases.get(ref) ?? ref;
      link = aliases.has(ref) ? undefined : this.#pending.get(ref);
    }
    for (const leaf of followed) aliases.set(leaf, end!);
  }

  /** What a hard link leads to: in the layer, maybe another one that has had no target yet, or a copy of what is below. */
  #targetOf(target: Bytes): Ref | undefined {
    const parts = LayerBuilder.parts(target);
    const base = parts.pop();
    const steps = this.#walk([this.#rootStep()], parts.join("/"), false);
    const found = base === undefined || steps === undefined ? undefined : this.#at(steps, base, true);
    if (found?.is === "below") return this.#copyUp(found.path, found.stats);
    return found?.is === "leaf" ? found.ref : undefined;
  }

  /** Takes a file that is below into the layer; another link to the same file is the same one. */
  #copyUp(path: Bytes, stats: Stats): Ref {
    const key = `${stats.dev}:${stats.ino}`;
    const copied = this.#copies.get(key);
    if (copied !== undefined) return copied;
    const ref = this.#copy(path, stats);
    this.#copies.set(key, ref);
    return ref;
  }

  #copy(path: Bytes, stats: Stats): Ref {
    const attributes = attributesBelow(path);
    const file = Buffer.from(path, "latin1");
    const type = stats.mode & S_IFMT;
    if (type === S_IFLNK) return this.#builder.addSymlink(attributes, linkTarget(path));
    if (type === S_IFREG) {
      const fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW);
      try {
        return this.#builder.addFile(attributes, stats.size, piecesOf(fd));
      } finally {
        closeSync(fd);
      }
    }
    if (type !== S_IFCHR && type !== S_IFBLK && type !== S_IFIFO) throw new ArchiveError("its target is no file");
    return this.#builder.addDevice(attributes, type, type === S_IFIFO ? 0 : stats.rdev);
  }

  #state(directory: number): number {
    return this.#states[directory] ?? UNKNOWN;
  }

  #setState(directory: number, state: number): void {
    if (directory >= this.#states.length) {
      const larger = new Uint8Array(directory * 2);
      larger.set(this.#states);
      this.#states = larger;
    }
    this.#states[directory] = state;
  }

  /** Finds out what a directory is below, and its parents before it. */
  #settle(directory: number): void {
    const chain: number[] = [];
    for (let at = directory; this.#state(at) === UNKNOWN; at = this.#tree.parentOf(at)) chain.push(at);
    // What was merged into another one is gone.
    for (const at of chain.reverse())
      if (this.#state(at) === UNKNOWN && this.#tree.ref(this.#tree.entryOf(at)) === -at) {
        try {
          this.#settleOne(at);
        } catch (error) {
          throw named(error, this.#tree.path(at));
        }
      }
  }

  #settleOne(directory: number): void {
    const tree = this.#tree;
    const parent = tree.parentOf(directory);
    const path =
      tree.flags(directory) & COVERS ? undefined : this.#childBelow(parent, tree.name(tree.entryOf(directory)));
    const stats = path === undefined ? undefined : statsOf(path);
    this.#setState(directory, stats?.isDirectory() ? PRESENT : ABSENT);
    if (stats === undefined || !isImplicit(tree, directory)) return;
    if (stats.isDirectory()) tree.setAttributes(directory, attributesBelow(path!));
    else if (stats.isSymbolicLink()) this.#follow(directory, path!);
  }

  /** Where the layers below have what is called so in a directory; undefined where it is hidden. */
  #childBelow(directory: number, name: Bytes): Bytes | undefined {
    const below = this.#below(directory);
    return below === undefined ? undefined : `${below}/${name}`;
  }

  /** Where the layers below have a directory, as far as it shows. */
  #below(directory: number): Bytes | undefined {
    if (this.#root === undefined || this.#state(directory) !== PRESENT) return undefined;
    if (this.#tree.flags(directory) & (OPAQUE | COVERS)) return undefined;
    return directory === ROOT ? this.#root : `${this.#root}/${this.#tree.path(directory)}`;
  }

  /** A symbolic link stands there below: what the layer has in the directory goes to where it leads. */
  #follow(directory: number, path: Bytes): void {
    if (++this.#nested > MAX_SYMLINKS) throw new ArchiveError("too many symbolic links on its path");
    this.#setState(directory, FOLLOWED);
    const target = linkTarget(path);
    const steps = this.#walk(this.#stepsTo(this.#tree.parentOf(directory)), target, true)!;
    const into = this.#make(steps);
    this.#setState(directory, ABSENT);
    this.#nested--;
    if (into === directory) throw new ArchiveError("a symbolic link to itself is in the way");
    this.#merge(directory, into);
  }

  #rootStep(): Step {
    return { name: "", directory: ROOT, below: this.#below(ROOT) };
  }

  #stepsTo(directory: number): Step[] {
    const steps: Step[] = [];
    for (let at = directory; at !== ROOT; at = this.#tree.parentOf(at))
      steps.push({ name: this.#tree.name(this.#tree.entryOf(at)), directory: at, below: this.#below(at) });
    steps.push(this.#rootStep());
    return steps.reverse();
  }

  /** Goes on from a directory by a path; `isNew`: what is missing is to be made. Undefined when it leads nowhere. */
  #walk(from: Step[], path: Bytes, isNew: boolean): Step[] | undefined {
    let steps = path.startsWith("/") ? [this.#rootStep()] : from;
    let links = 0;
    const rest = path.split("/").reverse();
    for (let part = rest.pop(); part !== undefined; part = rest.pop()) {
      if (part === "" || part === ".") continue;
      if (part === "..") {
        if (steps.length > 1) steps.pop();
        continue;
      }
      const found = this.#at(steps, part);
      if (found.is === "directory") steps.push(found.step);
      else if (found.is === "link") {
        if (++links > MAX_SYMLINKS) throw new ArchiveError("too many symbolic links on its path");
        if (found.target.startsWith("/")) steps = [this.#rootStep()];
        rest.push(...found.target.split("/").reverse());
      } else if (!isNew) return undefined;
      else if (found.is === "leaf")
        throw new ArchiveError(`a symbolic link leads to ${JSON.stringify(part)}, which is no directory`);
      else steps.push({ name: part, directory: 0, below: undefined });
    }
    return steps;
  }

  /** What a container would see at a name. @param isLast takes a symbolic link for what it is */
  #at(steps: readonly Step[], name: Bytes, isLast = false): Found {
    const { directory, below } = steps.at(-1)!;
    const ref = directory === 0 ? NOTHING : this.#tree.lookup(directory, name);
    if (ref > 0) return this.#leaf(ref, isLast);
    if (ref < 0) {
      if (this.#root !== undefined && this.#state(-ref) === UNKNOWN) this.#settle(-ref);
      // It may have gone to where a link leads.
      const now = this.#tree.lookup(directory, name);
      if (now < 0 && this.#state(-now) !== FOLLOWED)
        return { is: "directory", step: { name, directory: -now, below: this.#below(-now) } };
    }
    if (below === undefined) return { is: "nothing" };
    const path = `${below}/${name}`;
    const stats = statsOf(path);
    if (stats === undefined) return { is: "nothing" };
    if (stats.isDirectory()) return { is: "directory", step: { name, directory: 0, below: path } };
    if (stats.isSymbolicLink() && !isLast) return { is: "link", target: linkTarget(path) };
    return { is: "below", path, stats };
  }

  #leaf(ref: Ref, isLast: boolean): Found {
    if (this.#builder.isWhiteout(ref)) return { is: "nothing" };
    if (isLast || this.#tree.leafType(ref) !== S_IFLNK) return { is: "leaf", ref };
    return { is: "link", target: this.#builder.image.target(this.#tree.inodeAt(ref)) };
  }

  /** Makes what is missing on a path in the layer; returns its directory. */
  #make(steps: readonly Step[]): number {
    let directory = ROOT;
    for (const step of steps.slice(1)) {
      if (step.directory === 0) {
        const entry = this.#tree.entry(directory, step.name);
        step.directory = this.#builder.newDirectory(entry, IMPLICIT);
        if (step.below !== undefined) this.#tree.setAttributes(step.directory, attributesBelow(step.below));
        this.#setState(step.directory, step.below === undefined ? ABSENT : PRESENT);
      }
      directory = step.directory;
    }
    return directory;
  }

  /** Moves all entries of a directory into another one. What that has already stays, but for directories, which become one. */
  #merge(from: number, into: number): void {
    const tree = this.#tree;
    const work: [number, number][] = [[from, into]];
    for (let next = work.pop(); next !== undefined; next = work.pop()) {
      const [source, target] = next;
      tree.setFlags(target, tree.flags(target) | (tree.flags(source) & OPAQUE));
      for (const entry of this.#children.of(source)) {
        const ref = tree.ref(entry);
        if (ref === NOTHING) continue;
        const at = tree.entry(target, tree.name(entry));
        const there = tree.ref(at);
        if (tree.isCovered(entry)) tree.setCovered(at);
        if (there < 0 && ref < 0) {
          if (!(tree.flags(-ref) & IMPLICIT)) {
            tree.setAttributes(-there, tree.attributes(-ref));
            tree.setFlags(-there, tree.flags(-there) & ~IMPLICIT);
          }
          work.push([-ref, -there]);
        } else if (there === NOTHING || (this.#builder.isWhiteout(there) && !this.#builder.isWhiteout(ref))) {
          if (ref < 0) tree.move(-ref, at);
          else tree.set(at, ref);
        }
        if (tree.isCovered(at) && tree.ref(at) < 0) tree.setFlags(-tree.ref(at), tree.flags(-tree.ref(at)) | COVERS);
      }
      tree.set(tree.entryOf(source), NOTHING);
    }
  }
}

function isImplicit(tree: LayerTree, directory: number): boolean {
  return (tree.flags(directory) & IMPLICIT) !== 0;
}

function statsOf(path: Bytes): Stats | undefined {
  if (path.length > LONGEST_PATH) throw new ArchiveError(`a path of ${path.length} bytes`);
  return lstatSync(Buffer.from(path, "latin1"), { throwIfNoEntry: false });
}

function attributesBelow(path: Bytes): Attributes {
  const file = Buffer.from(path, "latin1");
  const { mode, uid, gid, mtimeNs } = lstatSync(file, { bigint: true });
  const nanoseconds = ((mtimeNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  return {
    mode: Number(mode) & 0o7777,
    uid: Number(uid),
    gid: Number(gid),
    mtime: Number((mtimeNs - nanoseconds) / 1_000_000_000n),
    nanoseconds: Number(nanoseconds),
    area: areaOfKept(extendedAttributes(file), Number(mode)),
  };
}

function linkTarget(path: Bytes): Bytes {
  return readlinkSync(Buffer.from(path, "latin1"), "latin1");
}

function* piecesOf(fd: number): Generator<Buffer> {
  const buffer = Buffer.allocUnsafe(1 << 18);
  for (let length = readSync(fd, buffer); length > 0; length = readSync(fd, buffer)) yield buffer.subarray(0, length);
}
