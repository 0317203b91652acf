import { fstatSync } from "node:fs";
import { libc, systemError } from "./libc.js";

const fallocate = libc.func("int fallocate(int fd, int mode, long offset, long length)");
/** The file's size stays as it is. */
const FALLOC_FL_KEEP_SIZE = 1;
/** In bytes: what fstat(2) counts in. */
const BLOCK = 512;

/**
 * Has the disk keep room for so many bytes more behind the end of a file, so that writing them can't fail for a full one.
 * @throws a system error: ENOSPC, or EOPNOTSUPP where the file system can't; what was kept before still is
 */
export function reserveRoom(fd: number, bytes: number): void {
  const { size, blocks } = fstatSync(fd);
  // Only what is lacking: a failed call may give back all of what it was asked for.
  const held = Math.max(size, blocks * BLOCK);
  const lacking = size + bytes - held;
  if (lacking > 0 && fallocate(fd, FALLOC_FL_KEEP_SIZE, held, lacking) !== 0) throw systemError("fallocate");
}
