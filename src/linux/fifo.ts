import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { libc, systemError } from "./libc.js";

const mkfifoCall = libc.func("int mkfifo(const char *path, unsigned int mode)");
const chmodCall = libc.func("int chmod(const char *path, unsigned int mode)");

/** Makes a FIFO with exactly this mode, whatever the umask. Throws a system error; EEXIST when the path is taken. */
export function makeFifo(path: string, mode: number): void {
  if (mkfifoCall(path, mode) !== 0) throw systemError("mkfifo", path);
  if (chmodCall(path, mode) !== 0) throw systemError("chmod", path);
}

/**
 * Opens a FIFO without ever waiting for the other side.
 * @throws a system error, or an Error when the path is something else than a FIFO.
 */
export function openFifo(path: string, access: "read" | "read-write"): number {
  const fd = openSync(path, (access === "read" ? constants.O_RDONLY : constants.O_RDWR) | constants.O_NONBLOCK);
  if (fstatSync(fd).isFIFO()) return fd;
  closeSync(fd);
  throw new Error(`open ${path}: not a FIFO`);
}
