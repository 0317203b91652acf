import { closeSync, constants, fstatSync, openSync, readlinkSync, readSync } from "node:fs";

/** Linux's O_PATH, which Node does not name: the place of a file, which is not opened by that. */
const O_PATH = 0o10000000;

/** As many as the kernel follows in one path. */
const MAX_LINKS = 40;

/**
 * The text of a file in a root file system that others may shape, even while it is read: links are followed as a process with this root
 * would follow them, so never out of it; what is no plain file is not opened.
 *
 * @param path absolute, in the root file system
 * @param largest bytes
 * @returns undefined when there is no such file
 * @throws Error when it is no plain file or larger; a system error
 */
export function readFileInRootfs(rootfs: string, path: string, largest: number): string | undefined {
  let place: number | undefined;
  try {
    place = openInRootfs(rootfs, path);
    const stat = fstatSync(place);
    if (!stat.isFile()) throw new Error(`${path} in ${rootfs} is no plain file`);
    return readText(place, `${path} in ${rootfs}`, largest);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw error;
  } finally {
    if (place !== undefined) closeSync(place);
  }
}

/**
 * Looks for what is at a path in a root file system, as above.
 *
 * @returns its path there without links; "" when there is nothing; undefined when that cannot be told: the root file system is not there,
 *   or not for this user
 */
export function findInRootfs(rootfs: string, path: string): string | undefined {
  let root: number;
  try {
    root = openSync(rootfs, O_PATH | constants.O_DIRECTORY);
  } catch {
    return undefined;
  }
  try {
    const place = openInRootfs(below(root), path);
    try {
      const [top, found] = [readlinkSync(below(root)), readlinkSync(below(place))];
      return found === top ? "/" : found.slice(top === "/" ? 0 : top.length);
    } finally {
      closeSync(place);
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === "ENOENT" || code === "ENOTDIR" ? "" : undefined;
  } finally {
    closeSync(root);
  }
}

function readText(place: number, what: string, largest: number): string {
  // The very file that was looked at, whatever is at its path by now.
  const fd = openSync(below(place), constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const bytes = Buffer.alloc(largest + 1);
    let length = 0;
    // The size that a file says it has need not be true.
    for (let read = -1; read !== 0 && length <= largest; length += read)
      read = readSync(fd, bytes, length, bytes.length - length, null);
    if (length > largest) throw new Error(`${what} is larger than ${largest} bytes`);
    return bytes.toString("utf8", 0, length);
  } finally {
    closeSync(fd);
  }
}

/** Walks down one folder at a time: each is opened below the one before, so that nobody can put a link in its place meanwhile. */
function openInRootfs(rootfs: string, path: string): number {
  const folders = [openSync(rootfs, O_PATH | constants.O_DIRECTORY)];
  let links = 0;
  try {
    const names = path.split("/").reverse();
    while (names.length > 0) {
      const name = names.pop()!;
      if (name === "" || name === ".") continue;
      if (name === "..") {
        // By the folders that were walked through: the kernel's ".." would be that of a folder that was moved away.
        if (folders.length > 1) closeSync(folders.pop()!);
        continue;
      }
      const next = openSync(below(folders.at(-1)!, name), O_PATH | constants.O_NOFOLLOW);
      folders.push(next);
      if (!fstatSync(next).isSymbolicLink()) continue;
      closeSync(folders.pop()!);
      if (++links > MAX_LINKS) throw new Error(`${path} in ${rootfs} is a loop of links`);
      const target = readlinkSync(below(folders.at(-1)!, name));
      if (target.startsWith("/")) for (const folder of folders.splice(1)) closeSync(folder);
      names.push(...target.split("/").reverse());
    }
    return folders.pop()!;
  } finally {
    for (const folder of folders) closeSync(folder);
  }
}

function below(folder: number, name?: string): string {
  return name === undefined ? `/proc/self/fd/${folder}` : `/proc/self/fd/${folder}/${name}`;
}
