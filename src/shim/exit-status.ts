/** The exitStatus file, and the exit FIFO. */
import { UNKNOWN_STATUS } from "../contract/shim/exit-status";
import { EXIT_FIFO, EXIT_STATUS_FILE, RESERVED_EXIT_STATUS_FILE } from "../contract/shim/process-directory";
import { logError } from "./log";
import * as sys from "./syscalls";

let exitFifo = -1;

/** Opens the write end of the exit FIFO: its hang-up, when we end, is the notice of the exit. */
export function openExitFifo(): void {
  exitFifo = sys.open(EXIT_FIFO, sys.O_WRONLY + sys.O_NONBLOCK);
  if (exitFifo < 0) error(`open exit: ${sys.errorText(exitFifo)}`, 0);
}

/**
 * Makes the file under another name, with room for any status: when the process ends the disk may be full, and a status
 * that cannot be written is lost.
 */
export function reserveExitStatus(): void {
  const fd = sys.open(RESERVED_EXIT_STATUS_FILE, sys.O_WRONLY + sys.O_CREAT + sys.O_TRUNC + sys.O_OWN, 0o600);
  if (fd < 0) return;
  const text = string.format("%d", UNKNOWN_STATUS);
  sys.write(fd, text, text.length);
  sys.close(fd);
}

/**
 * Publishes the status: a reader sees it as a whole or not at all. Where no file can be written (a disk with errors), a daemon that is there finds it
 * in the exit FIFO.
 */
export function writeExitStatus(status: number): void {
  const text = string.format("%d", status);
  const fd = sys.open(RESERVED_EXIT_STATUS_FILE, sys.O_WRONLY + sys.O_CREAT + sys.O_OWN, 0o600);
  let result = fd;
  if (fd >= 0) {
    result = sys.write(fd, text, text.length);
    if (result >= 0) result = sys.ftruncate(fd, text.length);
    sys.close(fd);
    if (result >= 0) result = sys.rename(RESERVED_EXIT_STATUS_FILE, EXIT_STATUS_FILE);
  }
  if (result >= 0) return;
  sys.write(exitFifo, text, text.length);
  logError(`write ${EXIT_STATUS_FILE}: ${sys.errorText(result)}`);
}
