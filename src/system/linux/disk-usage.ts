import { lstat } from "node:fs/promises";
import { hasCode } from "./libc.js";
import { OpenedDirectory } from "./opened-directory.js";

/** Bytes of a block, as stat(2) counts them. */
const BLOCK = 512;
/** So many files are looked at at a time. */
const AT_ONCE = 32;
/** Each directory above is open meanwhile. */
const MAX_DEPTH = 500;

export interface DiskUsage {
  /** In bytes. */
  size: number;
  inodes: number;
}

/**
 * What a directory and all in it take of the disk, each file counted once. Others may change it meanwhile; no link is followed, and no
 * other file system entered.
 * @throws a system error; an Error for directories in each other that nobody makes but to do harm
 */
export async function diskUsage(path: string): Promise<DiskUsage> {
  await using root = await OpenedDirectory.open(path);
  const count = new Count(await root.device());
  count.add(await lstat(root.path(".")));
  await count.directory(root, 0);
  return count;
}

class Count implements DiskUsage {
  size = 0;
  inodes = 0;
  readonly #device: number;
  readonly #linked = new Set<number>();

  constructor(device: number) {
    this.#device = device;
  }

  add(file: { ino: number; nlink: number; blocks: number; isDirectory(): boolean }): void {
    if (file.nlink > 1 && !file.isDirectory()) {
      if (this.#linked.has(file.ino)) return;
      this.#linked.add(file.ino);
    }
    this.inodes++;
    this.size += file.blocks * BLOCK;
  }

  async directory(directory: OpenedDirectory, depth: number): Promise<void> {
    if (depth > MAX_DEPTH) throw new Error(`more than ${MAX_DEPTH} directories in each other`);
    for await (const page of directory.pages()) {
      for (let begin = 0; begin < page.length; begin += AT_ONCE) {
        const paths = page.slice(begin, begin + AT_ONCE).map(({ name }) => directory.path(name));
        const files = await Promise.all(paths.map((path) => unlessGone(lstat(path))));
        for (const [i, file] of files.entries()) {
          if (file === undefined || file.dev !== this.#device) continue;
          this.add(file);
          if (file.isDirectory()) await this.#below(paths[i]!, depth + 1);
        }
      }
    }
  }

  async #below(path: Buffer, depth: number): Promise<void> {
    const opened = await unlessGone(OpenedDirectory.open(path));
    if (opened === undefined) return;
    await using directory = opened;
    if ((await directory.device()) === this.#device) await this.directory(directory, depth);
  }
}

/** Undefined for what was removed, or became something else, meanwhile. */
async function unlessGone<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (["ENOENT", "ENOTDIR", "ELOOP"].some((code) => hasCode(error, code))) return undefined;
    throw error;
  }
}
