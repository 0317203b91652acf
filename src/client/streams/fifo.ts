import { spawnSync } from "node:child_process";
import { closeSync, constants, openSync } from "node:fs";
import { Socket } from "node:net";
import { getSystemErrorMap } from "node:util";
import { loadKoffi } from "../koffi.js";

/** Makes a FIFO that only this user may open. @throws Error with the path and the system's reason. */
export function makeFifo(path: string): void {
  make(path);
}

/** The first FIFO finds out how they are made: most programs need none, and koffi is loaded for it. */
let make = (path: string): void => {
  make = madeByKoffi() ?? madeByProgram;
  make(path);
};

/** None where koffi is not to be had. */
function madeByKoffi(): ((path: string) => void) | undefined {
  const koffi = loadKoffi();
  if (koffi === undefined) return undefined;
  const mkfifo = koffi.load(null).func("int mkfifo(const char *path, unsigned int mode)");
  return (path) => {
    if (mkfifo(path, 0o600) === 0) return;
    const [code, text] = getSystemErrorMap().get(-koffi.errno()) ?? ["UNKNOWN", `error ${koffi.errno()}`];
    throw Object.assign(new Error(`mkfifo ${path}: ${text}`), { code, path });
  };
}

function madeByProgram(path: string): void {
  const { error, status, stderr } = spawnSync("mkfifo", ["-m", "600", path], { encoding: "utf8" });
  if (error)
    throw new Error(`mkfifo ${path}: neither the package koffi nor the program mkfifo is there`, { cause: error });
  if (status !== 0) throw Object.assign(new Error(stderr.trim() || `mkfifo ${path}: failed`), { path });
}

/**
 * What comes out of a FIFO. The open never waits; the end is reported once a writer has been there and all are gone. The
 * kernel polls it (no thread waits in a read), and nothing is read before the reader asks: an unread FIFO holds back its writer.
 */
export function readFifo(path: string): Socket {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return new Socket({ fd, readable: true, writable: false, manualStart: true } as ConstructorParameters<
    typeof Socket
  >[0]);
}

/** What goes into a FIFO; can be opened and written before there is a reader. Also the reading end is held, so no EPIPE. */
export function writeFifo(path: string): Socket {
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  return new Socket({ fd, readable: false, writable: true });
}

/**
 * Ends a FIFO for its reader, which must have it open: what is in it is read first. Needed for one that no writer ever
 * opened; has no effect while there is another writer.
 */
export function hangUpFifo(path: string): void {
  try {
    closeSync(openSync(path, constants.O_WRONLY | constants.O_NONBLOCK));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // No reader any more, or the folder is gone: there is nobody to tell.
    if (code !== "ENXIO" && code !== "ENOENT") throw error;
  }
}
