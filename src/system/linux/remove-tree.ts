import { rename, rmdir, unlink } from "node:fs/promises";
import { hasCode } from "./libc.js";
import { type FileName, OpenedDirectory } from "./opened-directory.js";

/** So many files are removed at a time. */
const AT_ONCE = 16;

/**
 * Removes a directory with all in it, which others may still change: no link is followed, and nothing that is mounted in it is entered. One
 * that was interrupted can be gone on with. However deep it is, few descriptors are open: each directory in it first comes directly below
 * `path`, whose own entries nobody else may change.
 * @throws a system error: EBUSY when something is mounted in it; that stays
 */
export async function removeTree(path: string): Promise<void> {
  let root: OpenedDirectory;
  try {
    root = await OpenedDirectory.open(path);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return;
    throw error;
  }
  await using top = root;
  const removal = new Removal(top);
  await removal.empty(top);
  await removal.rest();
  await rmdir(path);
}

class Removal {
  readonly #top: OpenedDirectory;
  /** Directories below the top one that are to be removed. */
  readonly #queue: string[] = [];
  #count = 0;

  constructor(top: OpenedDirectory) {
    this.#top = top;
  }

  async rest(): Promise<void> {
    for (let name = this.#queue.pop(); name !== undefined; name = this.#queue.pop()) {
      const path = this.#top.path(name);
      for (;;) {
        {
          await using directory = await OpenedDirectory.open(path);
          await this.empty(directory);
        }
        try {
          await rmdir(path);
          break;
        } catch (error) {
          // Something was put into it meanwhile.
          if (!hasCode(error, "ENOTEMPTY")) throw error;
        }
      }
    }
  }

  async empty(directory: OpenedDirectory): Promise<void> {
    for await (const page of directory.pages()) {
      for (let begin = 0; begin < page.length; begin += AT_ONCE)
        await Promise.all(
          page
            .slice(begin, begin + AT_ONCE)
            .map((entry) =>
              entry.isDirectory() ? this.#move(directory, entry.name) : this.#unlink(directory, entry.name),
            ),
        );
    }
  }

  async #unlink(directory: OpenedDirectory, name: FileName): Promise<void> {
    try {
      await unlink(directory.path(name));
    } catch (error) {
      if (hasCode(error, "EISDIR")) await this.#move(directory, name);
      else if (!hasCode(error, "ENOENT")) throw error;
    }
  }

  async #move(directory: OpenedDirectory, name: FileName): Promise<void> {
    for (;;) {
      const moved = `removed-${this.#count++}`;
      try {
        await rename(directory.path(name), this.#top.path(moved));
        this.#queue.push(moved);
        return;
      } catch (error) {
        if (hasCode(error, "ENOENT")) return;
        // One that was removed before has the name.
        if (!hasCode(error, "ENOTEMPTY") && !hasCode(error, "EEXIST")) throw error;
      }
    }
  }
}
