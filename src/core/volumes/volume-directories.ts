import { chmod, mkdir, open, readdir, rename, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { namesIn } from "../../system/linux/directory-names.js";
import { hasCode } from "../../system/linux/libc.js";
import { removeTree } from "../../system/linux/remove-tree.js";

export interface VolumePlace {
  namespace: string;
  name: string;
}

/** Below a volume's own directory: its files, those that it is being filled with, and those of one that is being removed. */
const FILES = "_data";
const FILLING = "_filling";
const REMOVED = "_removed";

/** Of a volume that an image has nothing for. */
const MODE = 0o755;

/**
 * The directories of volumes: one for each, below one for its namespace. Only root gets there. What a container has of it is the directory
 * of the files alone: nothing that a container does changes what is above it.
 */
export class VolumeDirectories {
  readonly path: string;

  /** @param path it is made with the first volume */
  constructor(path: string) {
    this.path = path;
  }

  of({ namespace, name }: VolumePlace): string {
    return join(this.path, namespace, name);
  }

  /** Where its files are. */
  files(place: VolumePlace): string {
    return join(this.of(place), FILES);
  }

  /** Makes the directory of a new volume. @throws a system error */
  async make(place: VolumePlace): Promise<void> {
    await mkdir(this.of(place), { recursive: true, mode: 0o700 });
  }

  /** Makes that of its files, if it is not there. @throws a system error */
  async makeFiles(place: VolumePlace): Promise<void> {
    await this.make(place);
    await makeOpen(this.files(place));
  }

  /** Whether it has files: somebody's who must not lose them. */
  async hasFiles(place: VolumePlace): Promise<boolean> {
    return (await namesIn(this.files(place))).length > 0;
  }

  /** An empty directory for what a volume is filled with; nobody sees it before {@link endFilling}. @throws a system error */
  async beginFilling(place: VolumePlace): Promise<string> {
    await this.make(place);
    const path = join(this.of(place), FILLING);
    await removeTree(path);
    await makeOpen(path);
    return path;
  }

  /**
   * Has what it was filled with be its files, unless it has some.
   * @param isLasting whether that is to be on the disk once this is done
   * @throws a system error
   */
  async endFilling(place: VolumePlace, isLasting: boolean): Promise<void> {
    const path = join(this.of(place), FILLING);
    try {
      // In place of an empty directory, or of none.
      await rename(path, this.files(place));
    } catch (error) {
      if (!hasCode(error, "ENOTEMPTY") && !hasCode(error, "EEXIST")) throw error;
      await removeTree(path);
    }
    if (isLasting) await sync(this.of(place));
  }

  /** Undoes what was begun for a volume that has come to nothing; files that it has stay. @throws a system error */
  async undo(place: VolumePlace): Promise<void> {
    await removeTree(join(this.of(place), FILLING));
    await this.#removeEmpty(place);
  }

  /** Begins to remove a volume: it has no files from here on. @throws a system error: EBUSY when something is mounted there */
  async beginRemoval(place: VolumePlace): Promise<void> {
    try {
      await rename(this.files(place), join(this.of(place), REMOVED));
    } catch (error) {
      if (!hasCode(error, "ENOENT")) throw error;
    }
  }

  /** Takes {@link beginRemoval} back. @throws a system error */
  async undoRemoval(place: VolumePlace): Promise<void> {
    await rename(join(this.of(place), REMOVED), this.files(place));
  }

  /** Removes the files of a volume that is no more. @throws a system error */
  async endRemoval(place: VolumePlace): Promise<void> {
    for (const name of [REMOVED, FILLING]) await removeTree(join(this.of(place), name));
    await this.#removeEmpty(place);
  }

  /** All there are. @throws a system error */
  async all(): Promise<VolumePlace[]> {
    const places: VolumePlace[] = [];
    for (const namespace of await directoriesIn(this.path))
      for (const name of await directoriesIn(join(this.path, namespace))) places.push({ namespace, name });
    return places;
  }

  /**
   * Brings to its end what an earlier daemon has begun with a volume that there is.
   * @returns whether its files are there
   * @throws a system error
   */
  async restore(place: VolumePlace): Promise<boolean> {
    const names = new Set(await namesIn(this.of(place)));
    // Nobody was told that it was removed.
    if (!names.has(FILES) && names.has(REMOVED)) await this.undoRemoval(place);
    // It was whole when it was written down that there is such a volume.
    else if (!names.has(FILES) && names.has(FILLING)) await this.endFilling(place, true);
    else if (names.has(FILLING)) await removeTree(join(this.of(place), FILLING));
    return names.has(FILES) || names.has(REMOVED) || names.has(FILLING);
  }

  /**
   * Removes what an earlier daemon has begun, or has not come to remove, of a volume that there is not.
   * @returns whether there are files that nothing is known of, which stay
   * @throws a system error
   */
  async removeUnknown(place: VolumePlace): Promise<boolean> {
    await this.endRemoval(place);
    try {
      return (await readdir(this.of(place))).length > 0;
    } catch (error) {
      if (hasCode(error, "ENOENT")) return false;
      throw error;
    }
  }

  async #removeEmpty(place: VolumePlace): Promise<void> {
    for (const path of [this.files(place), this.of(place)])
      try {
        await rmdir(path);
      } catch (error) {
        if (!hasCode(error, "ENOENT") && !hasCode(error, "ENOTEMPTY")) throw error;
      }
  }
}

async function directoriesIn(path: string): Promise<string[]> {
  try {
    const entries = await readdir(path, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
}

/** One that a container's users may look into, whatever the umask. */
async function makeOpen(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: MODE });
  } catch (error) {
    if (hasCode(error, "EEXIST")) return;
    throw error;
  }
  await chmod(path, MODE);
}

async function sync(directory: string): Promise<void> {
  const opened = await open(directory);
  try {
    await opened.sync();
  } finally {
    await opened.close();
  }
}
