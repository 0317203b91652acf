import type { Bytes } from "../../../../contract/tar/archive-entry.js";

/** Directories in each other that nobody makes but to do harm: each is open while it is gone through. */
export const DEEPEST = 1000;

/**
 * The parts of a path or of a name in an archive, without `.` and what `..` takes back; undefined when it leads out of where it begins.
 * One that begins with a slash is taken as one that does not.
 */
export function partsOf(path: Bytes): Bytes[] | undefined {
  const parts: Bytes[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.pop() === undefined) return undefined;
  }
  return parts;
}
