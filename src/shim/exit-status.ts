/** The exitStatus file, and the exit FIFO. */
import { UNKNOWN_STATUS } from "../contract/shim/exit-status";
import {
  ABANDONED_FILE,
  EXIT_FIFO,
  EXIT_STATUS_FILE,
  RESERVED_EXIT_STATUS_FILE,
} from "../contract/shim/process-directory";
import { logError, logWarning } from "./log";
import * as files from "./syscalls/files";
import { ENOSPC, errorText } from "./syscalls/libc";

let exitFifo = -1;

/** Opens the write end of the exit FIFO: its hang-up, when we end, is the notice of the exit. */
export function openExitFifo(): void {
  exitFifo = files.open(EXIT_FIFO, files.O_WRONLY + files.O_NONBLOCK);
  if (exitFifo < 0) error(`open exit: ${errorText(exitFifo)}`, 0);
}

/**
 * Makes the file under another name, with room for any status: when the process ends the disk may be full, and a status
 * that cannot be written is lost. Throws when it is full already.
 */
export function reserveExitStatus(): void {
  const fd = files.open(RESERVED_EXIT_STATUS_FILE, files.O_WRONLY + files.O_CREAT + files.O_TRUNC + files.O_OWN, 0o600);
  let result = fd;
  if (fd >= 0) {
    const text = string.format("%d", UNKNOWN_STATUS);
    result = files.write(fd, text, text.length);
    files.close(fd);
  }
  // Whatever else may be wrong (something stands in its place), the daemon is told the status another way.
  if (result === -ENOSPC) error(`open ${EXIT_STATUS_FILE}: ${errorText(result)}`, 0);
}

/**
 * Leaves word that the container has never run. The room that was kept for its status is used for that: the disk may be full.
 */
export function markAbandoned(): void {
  if (files.rename(RESERVED_EXIT_STATUS_FILE, ABANDONED_FILE) >= 0) return;
  const fd = files.open(ABANDONED_FILE, files.O_WRONLY + files.O_CREAT + files.O_OWN, 0o600);
  if (fd < 0) logWarning(`${ABANDONED_FILE}: ${errorText(fd)}`);
  else files.close(fd);
}

/**
 * Publishes the status: a reader sees it as a whole or not at all. Where no file can be written (a disk with errors), a daemon that is
 * there finds it in the exit FIFO.
 */
export function writeExitStatus(status: number): void {
  const text = string.format("%d", status);
  const fd = files.open(RESERVED_EXIT_STATUS_FILE, files.O_WRONLY + files.O_CREAT + files.O_OWN, 0o600);
  let result = fd;
  if (fd >= 0) {
    result = files.write(fd, text, text.length);
    if (result >= 0) result = files.ftruncate(fd, text.length);
    files.close(fd);
    if (result >= 0) result = files.rename(RESERVED_EXIT_STATUS_FILE, EXIT_STATUS_FILE);
  }
  if (result >= 0) return;
  files.write(exitFifo, text, text.length);
  logError(`write ${EXIT_STATUS_FILE}: ${errorText(result)}`);
}
