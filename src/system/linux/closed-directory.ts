import type { Stats } from "node:fs";
import { lstat, mkdir, readlink } from "node:fs/promises";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { hasCode } from "./libc.js";

/** For the group and for everybody. */
const WRITABLE_BY_OTHERS = 0o022;
const WRITABLE_BY_ALL = 0o002;
/** The sticky bit: whoever may write to such a directory can't rename or remove what others have put there. */
const STICKY = 0o1000;
/** May be gone through, not looked into: for the directories above one that is made. */
const PASSABLE = 0o711;
/** As the kernel counts them before it says ELOOP. */
const MAX_LINKS = 40;

/** Whether a file can be changed, and its mode, by nobody but root and this process's own user. */
export function isTrustedOwner(uid: number): boolean {
  return uid === 0 || uid === process.geteuid?.();
}

export interface DirectoryUse {
  /** Only files that are made anew, and found to be there by that, are put into it, as sockets are: so it may be one like /tmp. */
  mayBeShared?: boolean;
}

/**
 * Makes sure that nobody but root (and this process's own user) can put anything of theirs in place of a directory or of what is in it:
 * every directory above it, and it itself, belongs to root and is closed to writing by others. Above it may be directories like /tmp, where
 * everybody may write but the sticky bit keeps everybody's own. Once that holds, nobody else can change that it does. What is not there, or
 * is no directory, is fine: there is nothing in it.
 * @throws Error that says which directory it is, and how to mend it; a system error
 */
export async function checkDirectory(path: string, use: DirectoryUse = {}): Promise<void> {
  await walk(path, use, () => Promise.resolve(false));
}

/**
 * Makes a directory, and those above it that are missing, where nobody else can put anything in its place; one that is there keeps its
 * mode.
 * @param mode the new one's; those above it can be gone through by everybody
 * @throws as {@link checkDirectory}; then nothing is made below what is at fault
 */
export async function makeTrustedDirectory(path: string, mode: number, use: DirectoryUse = {}): Promise<void> {
  await walk(path, use, async (directory, isLast) => {
    try {
      await mkdir(directory, { mode: isLast ? mode : PASSABLE });
    } catch (error) {
      // Somebody else has just made it, and is looked at as for any that was there.
      if (!hasCode(error, "EEXIST")) throw error;
    }
    return true;
  });
}

/** @param make called for a directory that is missing, or something else; false: the way ends here */
async function walk(
  path: string,
  use: DirectoryUse,
  make: (directory: string, isLast: boolean) => Promise<boolean>,
): Promise<void> {
  const names = resolve(path).split("/");
  let directory = "/";
  let links = 0;
  for (;;) {
    const isLast = names.every((name) => name === "" || name === ".");
    const info = await look(directory);
    if (info === undefined) {
      if (!(await make(directory, isLast))) return;
      continue;
    }
    if (!isTrustedOwner(info.uid)) {
      throw new Error(
        `${directory} belongs to user ${info.uid}, who can put other files in place of ours: ` +
          `chown root ${directory}, or use another directory`,
      );
    }
    if (info.isSymbolicLink()) {
      if (++links > MAX_LINKS) throw new Error(`${path}: too many levels of symbolic links`);
      const target = await readlink(directory);
      names.unshift(...target.split("/"));
      directory = isAbsolute(target) ? "/" : dirname(directory);
      continue;
    }
    if (!info.isDirectory()) {
      if (!(await make(directory, isLast))) return;
      throw new Error(`${directory}: not a directory`);
    }
    const isSticky = (info.mode & STICKY) !== 0 && (!isLast || use.mayBeShared === true);
    if ((info.mode & WRITABLE_BY_OTHERS) !== 0 && !isSticky) {
      const who = info.mode & WRITABLE_BY_ALL ? "everybody" : `group ${info.gid}`;
      throw new Error(
        `${who} may write to ${directory} and put other files in place of ours: chmod go-w ${directory}, or use another directory`,
      );
    }
    if (isLast) return;
    directory = next(directory, names.shift()!);
  }
}

async function look(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

/** `directory` is no symbolic link, and has none in it: so its parent is what `..` means there. */
function next(directory: string, name: string): string {
  if (name === "" || name === ".") return directory;
  return name === ".." ? dirname(directory) : join(directory, name);
}
