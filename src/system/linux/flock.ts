import { closeSync, openSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import koffi from "koffi";
import { libc, systemError } from "./libc.js";

const flock = libc.func("int flock(int fd, int operation)");
const LOCK_EX = 2;
const LOCK_NB = 4;

/** In ms: how long, and how often, a lock is waited for whose holder has just been killed or told to stop. */
export const LOCK_TIMEOUT = 3_000;
const INTERVAL = 20;

/**
 * Locks a directory for as long as this process lives (or until the returned descriptor is closed), whatever ends it. One that holds the
 * lock and has just been killed or told to stop gets a moment to be gone.
 * @param timeout in ms: of that moment
 * @returns undefined when another process holds the lock
 * @throws a system error
 */
export async function lockDirectory(path: string, timeout = LOCK_TIMEOUT): Promise<number | undefined> {
  const deadline = performance.now() + timeout;
  for (;;) {
    const fd = tryLock(path);
    if (fd !== undefined || performance.now() >= deadline) return fd;
    await delay(INTERVAL);
  }
}

function tryLock(path: string): number | undefined {
  const fd = openSync(path, "r");
  if (flock(fd, LOCK_EX | LOCK_NB) === 0) return fd;
  const errno = koffi.errno();
  closeSync(fd);
  if (errno === koffi.os.errno.EWOULDBLOCK || errno === koffi.os.errno.EAGAIN) return undefined;
  throw systemError("flock", path, errno);
}
