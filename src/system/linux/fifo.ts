import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { libc, systemError } from "./libc.js";

const mkfifoCall = libc.func("int mkfifo(const char *path, unsigned int mode)");

/** Makes a FIFO that only this user may open. Throws a system error; EEXIST when the path is taken. */
export function makeFifo(path: string): void {
  if (mkfifoCall(path, 0o600) !== 0) throw systemError("mkfifo", path);
}

/**
 * Opens a FIFO without ever waiting for the other side.
 * @throws a system error, or an Error when the path is something else than a FIFO.
 */
export function openFifo(path: string, access: "read" | "read-write"): number {
  const fd = openSync(
    path,
    (access === "read" ? constants.O_RDONLY : constants.O_RDWR) | constants.O_NONBLOCK | constants.O_NOCTTY,
  );
  if (fstatSync(fd).isFIFO()) return fd;
  closeSync(fd);
  throw new Error(`open ${path}: not a FIFO`);
}
