import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import { isTrustedOwner, makeTrustedDirectory } from "../../system/linux/closed-directory.js";
import { errorText, hasCode } from "../../system/linux/libc.js";
import { Failure, refusal } from "../failure/failure.js";
import { onForeignFiles } from "./foreign-files.js";

/** A FIFO or device is not waited for, and no link is followed. */
const FLAGS =
  constants.O_WRONLY |
  constants.O_APPEND |
  constants.O_CREAT |
  constants.O_NONBLOCK |
  constants.O_NOFOLLOW |
  constants.O_NOCTTY;

/**
 * Makes a file that a container's output can be appended to, and the directories above it that are missing, for root alone. One that is
 * there stays as it is. Nobody but root (and this process's own user) can put another in its place afterwards: what a container prints
 * would go wherever a link leads to.
 * @param caller waits no more
 * @throws Failure: invalid-argument when something else is there, failed-precondition when somebody else could change the file or its
 *   directories, deadline-exceeded, internal; the caller's reason
 */
export async function makeLogFile(path: string, caller?: AbortSignal): Promise<void> {
  try {
    await onForeignFiles(path, () => make(path), caller);
  } catch (error) {
    if (error instanceof Failure || caller?.aborted) throw error;
    const isOther = ["EISDIR", "ELOOP", "ENXIO", "ENOTDIR"].some((code) => hasCode(error, code));
    throw new Failure(isOther ? "invalid-argument" : "internal", "system", { why: errorText(error) }, { cause: error });
  }
}

async function make(path: string): Promise<void> {
  const refuse = (why: string) => new Failure("failed-precondition", "refused", { why: `log file ${path}: ${why}` });
  try {
    await makeTrustedDirectory(dirname(path), 0o700, { mayBeShared: true });
  } catch (error) {
    throw (error as NodeJS.ErrnoException).code === undefined ? refuse((error as Error).message) : error;
  }
  await using file = await open(path, FLAGS, 0o600);
  const info = await file.stat();
  if (!info.isFile()) throw refusal(`log file ${path}: not a regular file`);
  if (!isTrustedOwner(info.uid)) throw refuse(`belongs to user ${info.uid}`);
}
