import { closeSync, openSync } from "node:fs";
import koffi from "koffi";
import { libc, systemError } from "./libc.js";

const flock = libc.func("int flock(int fd, int operation)");
const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Locks a directory for as long as this process lives (or until the returned descriptor is closed), whatever ends it.
 * @returns undefined when another process holds the lock
 * @throws a system error
 */
export function lockDirectory(path: string): number | undefined {
  const fd = openSync(path, "r");
  if (flock(fd, LOCK_EX | LOCK_NB) === 0) return fd;
  const errno = koffi.errno();
  closeSync(fd);
  if (errno === koffi.os.errno.EWOULDBLOCK || errno === koffi.os.errno.EAGAIN) return undefined;
  throw systemError("flock", path, errno);
}
