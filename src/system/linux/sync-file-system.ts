import { libc, systemError } from "./libc.js";

const syncfs = libc.func("int syncfs(int fd)");

/**
 * Waits until all that was written to a file system is on its disk.
 * @param fd of any file on it
 * @throws a system error: also when something could not be written since it was opened
 */
export function syncFileSystem(fd: number): void {
  if (syncfs(fd) !== 0) throw systemError("syncfs", "");
}
