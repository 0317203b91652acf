import { type BigIntStats, closeSync, constants, fstatSync, openSync, readdirSync } from "node:fs";
import { type Bytes, textOf } from "../../../../contract/tar/archive-entry.js";
import { O_PATH, openAt } from "../../../../system/linux/at-calls.js";
import { attributesOfOpened } from "../../../../system/linux/attributes.js";
import { hasCode } from "../../../../system/linux/libc.js";
import { Failure } from "../../../failure/failure.js";
import { FileOwners } from "../../../files/file-owners.js";
import type { Change, ChangesTask } from "./messages.js";
import { DEEPEST } from "./names.js";

const { O_DIRECTORY, O_NOFOLLOW, O_RDONLY, S_IFCHR, S_IFDIR, S_IFMT } = constants;
const PLACE = O_PATH | O_NOFOLLOW;
const OPAQUE = "trusted.overlay.opaque";
const CAPABILITY = "security.capability";
/** So many are told at once. */
const PAGE = 500;

/**
 * What an upper directory has changed of what it is put on, as Docker tells it: sorted by path, a directory before what is in it. A
 * directory is modified, too, when something in it is another one now; a file that is what it was below is not.
 * @throws a system error
 */
export function* changesOf(task: ChangesTask, alive: () => void): Generator<Change[]> {
  const upper = openSync(task.upper, O_RDONLY | O_DIRECTORY);
  try {
    const lower = task.lower === "" ? undefined : openSync(task.lower, O_RDONLY | O_DIRECTORY);
    try {
      let page: Change[] = [];
      for (const change of new Comparison(new FileOwners(task.idMaps), alive).directory(upper, lower, "", false)) {
        if (page.push(change) < PAGE) continue;
        yield page;
        page = [];
      }
      if (page.length > 0) yield page;
    } finally {
      if (lower !== undefined) closeSync(lower);
    }
  } finally {
    closeSync(upper);
  }
}

class Comparison {
  readonly #owners: FileOwners;
  readonly #alive: () => void;
  #depth = 0;

  constructor(owners: FileOwners, alive: () => void) {
    this.#owners = owners;
    this.#alive = alive;
  }

  /**
   * What has changed in a directory.
   * @param lower what is below it; undefined: no directory
   * @param isHiding nothing of what is below shows
   */
  *directory(upper: number, lower: number | undefined, path: Bytes, isHiding: boolean): Generator<Change> {
    if (++this.#depth > DEEPEST) {
      const why = `more than ${DEEPEST} directories in each other`;
      throw new Failure("failed-precondition", "container-files", { path: textOf(path), why });
    }
    const above = new Set(namesIn(upper));
    const hidden = isHiding && lower !== undefined ? namesIn(lower).filter((name) => !above.has(name)) : [];
    const gone = new Set(hidden);
    for (const name of [...above, ...hidden].sort(byBytes)) {
      this.#alive();
      if (gone.has(name)) yield { path: textOf(`${path}/${name}`), kind: "deleted" };
      else yield* this.#child(upper, lower, name, `${path}/${name}`);
    }
    this.#depth--;
  }

  *#child(upper: number, lower: number | undefined, name: Bytes, path: Bytes): Generator<Change> {
    using above = Place.at(upper, name);
    if (above === undefined) return;
    using below = lower === undefined ? undefined : Place.at(lower, name);
    const { stats } = above;
    if ((Number(stats.mode) & S_IFMT) === S_IFCHR && stats.rdev === 0n) {
      if (below !== undefined) yield { path: textOf(path), kind: "deleted" };
      return;
    }
    const own = this.#own(above, below);
    if (own !== undefined) yield { path: textOf(path), kind: own };
    if (!above.isDirectory) return;
    const lowerDirectory = below?.isDirectory ? below.fd : undefined;
    const isOpaque = above.attributes.get(OPAQUE)?.toString() === "y";
    let isTold = own !== undefined;
    for (const change of this.directory(above.fd, lowerDirectory, path, isOpaque)) {
      if (!isTold) yield { path: textOf(path), kind: "modified" };
      isTold = true;
      yield change;
    }
  }

  #own(above: Place, below: Place | undefined): Change["kind"] | undefined {
    if (below === undefined) return "added";
    const [a, b] = [above.stats, below.stats];
    const isOther =
      a.mode !== b.mode ||
      this.#owners.uidInside(Number(a.uid)) !== Number(b.uid) ||
      this.#owners.gidInside(Number(a.gid)) !== Number(b.gid) ||
      a.rdev !== b.rdev ||
      // Of directories these say nothing.
      (!above.isDirectory && (a.size !== b.size || !isSameTime(a.mtimeNs, b.mtimeNs))) ||
      !this.#owners.capabilityInside(above.capability).equals(below.capability);
    return isOther ? "modified" : undefined;
  }
}

/** A file, of whatever kind, that is open as a place. */
class Place implements Disposable {
  readonly fd: number;
  readonly stats: BigIntStats;
  readonly attributes: ReadonlyMap<Bytes, Buffer>;

  private constructor(fd: number) {
    this.fd = fd;
    this.stats = fstatSync(fd, { bigint: true });
    this.attributes = attributesOfOpened(fd);
  }

  static at(directory: number, name: Bytes): Place | undefined {
    let fd: number;
    try {
      fd = openAt(directory, name, PLACE);
    } catch (error) {
      // Removed meanwhile, or never there.
      if (hasCode(error, "ENOENT")) return undefined;
      throw error;
    }
    return new Place(fd);
  }

  get isDirectory(): boolean {
    return (Number(this.stats.mode) & S_IFMT) === S_IFDIR;
  }

  get capability(): Buffer {
    return this.attributes.get(CAPABILITY) ?? Buffer.alloc(0);
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

function namesIn(directory: number): Bytes[] {
  return readdirSync(`/proc/self/fd/${directory}/.`, { encoding: "latin1" });
}

/** Layers and archives may have whole seconds only. */
function isSameTime(a: bigint, b: bigint): boolean {
  if (a === b) return true;
  const isRounded = a % 1_000_000_000n === 0n || b % 1_000_000_000n === 0n;
  return isRounded && a / 1_000_000_000n === b / 1_000_000_000n;
}

function byBytes(a: Bytes, b: Bytes): number {
  return a < b ? -1 : 1;
}
