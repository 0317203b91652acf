import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync, readSync, renameSync } from "node:fs";
import { withReserve } from "../../../system/linux/reserved-descriptors.js";
import { writeAtomically } from "../../files/write-atomically.js";

/** In bytes: more than any request can make of a state file. */
const LIMIT = 16 << 20;

const DAMAGED = ".damaged";

/**
 * Reads a file of the state directory that may have been damaged: whatever stands in its place (a FIFO, a device, a directory, a link),
 * this neither waits nor reads without end.
 * @throws a system error, or an Error when there is no file, or too large a one
 */
export function readStateFile(path: string): string {
  return withReserve(() => readWhole(path));
}

function readWhole(path: string): string {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW | constants.O_NOCTTY);
  try {
    const info = fstatSync(fd);
    if (!info.isFile()) throw new Error(`open ${path}: not a regular file`);
    if (info.size > LIMIT) throw new Error(`open ${path}: larger than ${LIMIT} bytes`);
    const content = Buffer.allocUnsafe(info.size + 1);
    const length = readSync(fd, content);
    if (length <= info.size) return content.toString("utf8", 0, length);
    // Somebody is just writing it.
    return Buffer.concat([content, readFileSync(fd)]).toString("utf8");
  } finally {
    closeSync(fd);
  }
}

/** Writes a file of the state directory anew, whatever stands in its place. Throws a system error; what was there is there then. */
export function replaceStateFile(path: string, content: string): void {
  if (lstatSync(path, { throwIfNoEntry: false })?.isDirectory()) setAside(path);
  writeAtomically(path, content);
}

/** Gives what stands in a state file's place another name. Throws a system error. */
export function setAside(path: string): void {
  for (let n = 0; ; n++) {
    try {
      renameSync(path, `${path}${DAMAGED}${n === 0 ? "" : n}`);
      return;
    } catch (error) {
      // A directory of that name, from the last time.
      const { code } = error as NodeJS.ErrnoException;
      if (n > 9 || (code !== "ENOTEMPTY" && code !== "EISDIR" && code !== "ENOTDIR")) throw error;
    }
  }
}

/** Whether {@link setAside} has made this of the state file `name`. */
export function isSetAside(entry: string, name: string): boolean {
  return entry.startsWith(`${name}${DAMAGED}`);
}
