import { closeSync, openSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { loadKoffi } from "../koffi.js";

const LOCK_EX = 2;
const LOCK_NB = 4;
/** In ms. */
const INTERVAL = 10;
/** In ms: who has the directory for longer stands still. */
const TIMEOUT = 20_000;

export interface DirectoryLock {
  release(): void;
}

/**
 * Waits until no other process has a directory, and has it until it is released, or this process ends. Nobody is waited for where there is
 * no koffi, as in a bundle, or where the file system has no locks.
 * @throws a system error; Error when another process does not let go of it
 */
export async function lockDirectory(path: string): Promise<DirectoryLock> {
  const fd = openSync(path, "r");
  const lock = { release: () => closeSync(fd) };
  try {
    const isTaken = locking();
    const giveUp = performance.now() + TIMEOUT;
    while (isTaken(fd)) {
      if (performance.now() > giveUp)
        throw new Error(`${path}: another program has been starting a daemon there for ${TIMEOUT / 1000} s`);
      await sleep(INTERVAL);
    }
    return lock;
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Locks what is open, unless another process has. */
function locking(): (fd: number) => boolean {
  const koffi = loadKoffi();
  if (koffi === undefined) return () => false;
  const flock = koffi.load(null).func("int flock(int fd, int operation)");
  return (fd) => flock(fd, LOCK_EX | LOCK_NB) !== 0 && koffi.errno() === koffi.os.errno.EAGAIN;
}
