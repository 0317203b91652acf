import { randomBytes } from "node:crypto";
import { lstatSync, mkdirSync, readdirSync, renameSync, rmdirSync, unlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { hasCode } from "../../../system/linux/libc.js";
import type { Removals } from "./removals.js";

/**
 * A container's directory is filled under a temporary name, gets its own by one rename and loses it by one rename before it is removed. So
 * a directory with a container's name is complete, whenever this process is killed, and one with a temporary name can be removed.
 */
const PREFIX = ".partial-";
const prefixOfThisProcess = `${PREFIX}${randomBytes(6).toString("hex")}-`;
let count = 0;

export const isPartial = (name: string): boolean => name.startsWith(PREFIX);

function partialBeside(path: string): string {
  return join(dirname(path), `${prefixOfThisProcess}${count++}`);
}

/**
 * Makes a directory that only root can enter.
 * @param fill gets the path of the directory before it has its name
 * @throws a system error, or what `fill` does; nothing is left then, as soon as `removals` can remove it. ENOTEMPTY, EEXIST or ENOTDIR when
 *   the name is taken; an empty directory is replaced
 */
export function makeWhole(path: string, fill: (partial: string) => void, removals: Removals): void {
  const partial = partialBeside(path);
  mkdirSync(partial, { mode: 0o700 });
  try {
    fill(partial);
    renameSync(partial, path);
  } catch (error) {
    removals.now(partial, () => removeTree(partial));
    throw error;
  }
}

/**
 * Takes a directory's name away.
 * @returns where it is now; undefined when there was none
 * @throws a system error
 */
export function takeAway(path: string): string | undefined {
  const partial = partialBeside(path);
  try {
    renameSync(path, partial);
    return partial;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

/**
 * Removes a directory (or what stands in its place) and all that is in it, but nothing of what is mounted there. Fine when there is none.
 * @throws a system error; what could be removed is gone all the same. EBUSY: something is mounted
 */
export function removeTree(directory: string): void {
  const info = lstatSync(directory, { throwIfNoEntry: false });
  if (info?.isDirectory()) removeDirectory(directory);
  else if (info !== undefined) unlinkSync(directory);
}

function removeDirectory(directory: string): void {
  try {
    rmdirSync(directory);
    return;
  } catch (error) {
    // Otherwise, above all when something is mounted there (also of the same file system), it is not looked into.
    if (!hasCode(error, "ENOTEMPTY")) throw error;
  }
  let failure: unknown;
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    try {
      if (entry.isDirectory()) removeDirectory(path);
      else unlinkSync(path);
    } catch (error) {
      if (!hasCode(error, "ENOENT")) failure ??= error;
    }
  }
  if (failure !== undefined) throw failure;
  rmdirSync(directory);
}
