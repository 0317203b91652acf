import { libc, systemError } from "./libc.js";

const prlimit = libc.func("int prlimit(int pid, int resource, uint8_t *next, uint8_t *previous)");
const RLIMIT_NOFILE = 7;

/** How many files this process may have open. Throws a system error. */
export function openFilesLimit(): number {
  const limits = Buffer.alloc(16);
  if (prlimit(0, RLIMIT_NOFILE, null, limits) !== 0) throw systemError("prlimit");
  return Number(limits.readBigUInt64LE(0));
}

/**
 * Raises this process's limit of open files to the hard limit when it is 1024 or less, as the original does.
 * @returns the limit in force
 * @throws a system error
 */
export function raiseOpenFilesLimit(): bigint {
  const limits = Buffer.alloc(16);
  if (prlimit(0, RLIMIT_NOFILE, null, limits) !== 0) throw systemError("prlimit");
  const hard = limits.readBigUInt64LE(8);
  if (limits.readBigUInt64LE(0) > 1024n) return limits.readBigUInt64LE(0);
  limits.writeBigUInt64LE(hard, 0);
  if (prlimit(0, RLIMIT_NOFILE, limits, null) !== 0) throw systemError("prlimit");
  return hard;
}
