import { chmodSync, lstatSync, readdirSync, type Stats } from "node:fs";
import { join } from "node:path";
import { isTrustedOwner } from "../../system/linux/closed-directory.js";

const FOR_OTHERS = 0o077;
const WRITABLE_BY_OTHERS = 0o022;

/**
 * Takes all permissions on a directory and all in it from everybody but the owner: containerd 0.2 in Go leaves its files readable for
 * everybody. The directory itself comes last, so if it is closed, all in it is.
 * @throws Error, for what somebody else than root has made or can have made; a system error
 */
export function closeTree(directory: string): void {
  const info = lstatSync(directory);
  checkOwner(directory, info);
  if ((info.mode & FOR_OTHERS) === 0) return;
  if ((info.mode & WRITABLE_BY_OTHERS) !== 0) throw new Error(`${directory}: not only root may write to it`);
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) closeTree(path);
    else if (!entry.isSymbolicLink()) closeFile(path);
  }
  chmodSync(directory, info.mode & 0o700);
}

/** Closes a file to everybody but its owner. @throws as {@link closeTree} */
function closeFile(path: string): void {
  const info = lstatSync(path);
  checkOwner(path, info);
  if ((info.mode & FOR_OTHERS) !== 0) chmodSync(path, info.mode & 0o600);
}

function checkOwner(path: string, { uid }: Stats): void {
  if (!isTrustedOwner(uid)) throw new Error(`${path} belongs to user ${uid}`);
}
