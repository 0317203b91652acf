import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  statfsSync,
} from "node:fs";
import { rmdir } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { makeTrustedDirectory } from "../../system/linux/closed-directory.js";
import { namesIn } from "../../system/linux/directory-names.js";
import { errorText, hasCode } from "../../system/linux/libc.js";
import { OpenedDirectory } from "../../system/linux/opened-directory.js";
import { removeTree } from "../../system/linux/remove-tree.js";
import { Failure } from "../failure/failure.js";

/** Of a root directory that nothing says anything of. */
const ROOT_MODE = 0o755;
const WORK_MODE = 0o711;
/** What statfs(2) says of an overlayfs. */
const OVERLAYFS = 0x794c7630;
/** In overlayfs' options these mean something. */
const SPECIAL = /[:,\\"]/;

/** How the directories begin where a look at a snapshot is mounted. */
const LOOK = "look-";
/** How those begin that are filled before there is a snapshot. */
const FILLING = "fill-";

const MAPPED = "mapped";

/** Owner of the root directory of a file tree. */
export interface RootOwner {
  uid: number;
  gid: number;
}

/** The directories of snapshots: a number each, below one that is closed to all others. */
export class SnapshotDirectories {
  #looks = 0;

  constructor(readonly path: string) {}

  /** @throws Failure (failed-precondition) where there can be no snapshots */
  async open(): Promise<void> {
    const refuse = (why: string) => new Failure("failed-precondition", "no-snapshots", { directory: this.path, why });
    if (SPECIAL.test(this.path))
      throw refuse('overlayfs does not take paths with `:`, `,`, `"` or `\\`: use another --root');
    try {
      await makeTrustedDirectory(this.path, 0o700);
      chmodSync(this.path, 0o700);
    } catch (error) {
      throw refuse(errorText(error));
    }
    if (statfsSync(this.path).type === OVERLAYFS)
      throw refuse(
        "on an overlayfs, which can't be written to through another one: use a --root on another file system",
      );
  }

  /** The directory of a snapshot. */
  of(id: number): string {
    return join(this.path, `${id}`);
  }

  /** Where its files are: the upper directory of an active one, and what a committed one has; or where its layer file is mounted. */
  files(id: number): string {
    return join(this.path, `${id}`, "fs");
  }

  /** Where its layer file is mounted when there are files, too. */
  layer(id: number): string {
    return join(this.path, `${id}`, "layer");
  }

  work(id: number): string {
    return join(this.path, `${id}`, "work");
  }

  /** Where one of the directories that it is put on is mounted once more, for other owners; of those that are no snapshot's it has one. */
  mapped(id: number, directory: string): string {
    const isOurs = directory.startsWith(`${this.path}/`);
    const name = isOurs ? relative(this.path, directory).replaceAll("/", "-") : "foreign";
    return join(this.path, `${id}`, MAPPED, name);
  }

  /** Those of {@link mapped} that there are. */
  mappedOf(id: number): string[] {
    const directory = join(this.path, `${id}`, MAPPED);
    try {
      return readdirSync(directory).map((name) => join(directory, name));
    } catch (error) {
      if (hasCode(error, "ENOENT")) return [];
      throw error;
    }
  }

  /** What something is mounted at a path for. */
  purposeOf(path: string): { isLook: boolean; isMapped: boolean } {
    const parent = dirname(path);
    const isMapped = basename(parent) === MAPPED && dirname(dirname(parent)) === this.path;
    return { isLook: parent === this.path && basename(path).startsWith(LOOK), isMapped };
  }

  /** Whose a path is. */
  idOf(path: string): number | undefined {
    if (!path.startsWith(`${this.path}/`)) return undefined;
    const [name = ""] = path.slice(this.path.length + 1).split("/");
    return isId(name) ? Number(name) : undefined;
  }

  /**
   * Those that an active snapshot needs, as far as they are missing.
   * @param filled see {@link makeFilling}: its files
   * @throws a system error
   */
  makeActive(id: number, owner: RootOwner, filled?: string): void {
    if (existsSync(this.work(id))) return;
    if (filled !== undefined) {
      makeDirectory(this.of(id), 0o700);
      renameSync(filled, this.files(id));
    }
    this.#makeFiles(id, owner);
    makeDirectory(this.work(id), WORK_MODE);
  }

  /** As {@link makeActive}, for a view of nothing. */
  makeEmpty(id: number, owner: RootOwner): void {
    this.#makeFiles(id, owner);
  }

  #makeFiles(id: number, { uid, gid }: RootOwner): void {
    makeDirectory(this.of(id), 0o700);
    const files = this.files(id);
    if (!makeDirectory(files, ROOT_MODE)) return;
    // Whatever the umask.
    chmodSync(files, ROOT_MODE);
    if (uid !== 0 || gid !== 0) chownSync(files, uid, gid);
  }

  /** An empty one for a look at a snapshot. */
  makeLook(): string {
    const path = join(this.path, `${LOOK}${this.#looks++}`);
    mkdirSync(path, { mode: 0o700 });
    return path;
  }

  /** Those that the last daemon has left; nothing is mounted there any more. @throws a system error */
  async removeLooks(): Promise<void> {
    for (const path of await this.looks()) await this.removeEmpty(path);
  }

  /** An empty one for the files of a snapshot that is not there yet. */
  makeFilling(): string {
    return mkdtempSync(join(this.path, FILLING));
  }

  /** Those of {@link makeFilling} that are no snapshot's. */
  async fillings(): Promise<string[]> {
    return (await namesIn(this.path)).filter((name) => name.startsWith(FILLING)).map((name) => join(this.path, name));
  }

  /** A place to mount something at. */
  makeMountPoint(path: string): void {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  }

  ownerOf(directory: string): RootOwner {
    const { uid, gid } = lstatSync(directory);
    return { uid, gid };
  }

  /** Whether nothing was ever put into it, nor was it changed itself. */
  async isEmpty(id: number): Promise<boolean> {
    await using directory = await OpenedDirectory.open(this.files(id));
    for await (const _ of directory.pages()) return false;
    return (lstatSync(this.files(id)).mode & 0o7777) === ROOT_MODE;
  }

  /** All there are. */
  async ids(): Promise<number[]> {
    return (await namesIn(this.path)).filter(isId).map(Number);
  }

  /** Those where looks are, or were, mounted. */
  async looks(): Promise<string[]> {
    return (await namesIn(this.path)).filter((name) => name.startsWith(LOOK)).map((name) => join(this.path, name));
  }

  /** @throws a system error */
  async remove(id: number): Promise<void> {
    try {
      // Most have nothing but the place where a layer file was mounted.
      for (const path of [this.files(id), this.of(id)]) await rmdir(path);
    } catch {
      await removeTree(this.of(id));
    }
  }

  /** One that has something in it stays. @throws a system error: EBUSY when something is mounted there */
  async removeEmpty(path: string): Promise<void> {
    try {
      await rmdir(path);
    } catch (error) {
      if (!hasCode(error, "ENOENT") && !hasCode(error, "ENOTEMPTY")) throw error;
    }
  }
}

function isId(name: string): boolean {
  return /^[1-9]\d*$/.test(name);
}

/** Whether it was not there. */
function makeDirectory(path: string, mode: number): boolean {
  try {
    mkdirSync(path, { mode });
    return true;
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
    return false;
  }
}
