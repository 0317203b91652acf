/**
 * Who gets the last of the descriptors that this process may have, in this order: connections from other machines don't
 * ({@link isLeftForLocal}), connections of this machine and operations on containers do, and a few are for nobody but what must work
 * ({@link withReserve}).
 */
import { closeSync, openSync } from "node:fs";
import { hasCode } from "./libc.js";
import { openFilesLimit } from "./rlimit.js";

/** How many descriptors are kept: what must work has no more open at a time. */
const RESERVED = 4;
/** One in so many of them is not for connections from other machines. */
const LOCAL_PART = 4;
/** In ms: how often descriptors are asked for that could not be had again. */
const REFILL_INTERVAL = 100;

const reserved: number[] = [];
let refilling: NodeJS.Timeout | undefined;

/**
 * Runs what must work also when no descriptor is left (the end of a process is told, a local client gets its answer): the reserved ones are
 * closed for it then, and taken again as soon as there are some. Only for what is done when it returns: it is run a second time.
 */
export function withReserve<T>(operation: () => T): T {
  if (reserved.length === 0) refill();
  try {
    return operation();
  } catch (error) {
    if (!isOutOfDescriptors(error) || reserved.length === 0) throw error;
  }
  for (const fd of reserved.splice(0)) closeSync(fd);
  try {
    return operation();
  } finally {
    refill();
  }
}

/**
 * Whether a descriptor that was just got is one of the last, which are not for connections from other machines: the kernel gives the lowest
 * number that is free. The reserve is not among those that it leaves for others. Throws a system error.
 */
export function isLeftForLocal(fd: number): boolean {
  const limit = openFilesLimit();
  return fd >= limit - RESERVED - Math.ceil(limit / LOCAL_PART);
}

/**
 * For what must not take a file that can't be opened for one that is not there: true until the next wait.
 * @param count how many have to be free
 * @throws a system error when the reserve is not whole, or there are not so many besides
 */
export function requireDescriptors(count = RESERVED): void {
  refill();
  const free: number[] = [];
  try {
    const take = (wanted: number) => {
      while (free.length < RESERVED + wanted - reserved.length) free.push(openSync("/dev/null", "r"));
    };
    take(RESERVED);
    // Far from the limit there are enough: each that is tried costs a daemon's start two system calls for every container.
    if (isLeftForLocal(free.at(-1)!)) take(count);
  } finally {
    for (const fd of free) closeSync(fd);
  }
}

/** EMFILE: this process has its limit open; ENFILE: the machine has. */
export function isOutOfDescriptors(error: unknown): boolean {
  return hasCode(error, "EMFILE") || hasCode(error, "ENFILE");
}

/** Takes what is lacking; what can't be had is tried again later. To be called once at the start, so that there is a reserve. */
export function refill(): void {
  clearTimeout(refilling);
  try {
    while (reserved.length < RESERVED) reserved.push(openSync("/dev/null", "r"));
  } catch {
    refilling = setTimeout(refill, REFILL_INTERVAL).unref();
  }
}
