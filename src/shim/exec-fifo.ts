/**
 * The FIFO that a created container waits at. `<runtime> start` does little more than opening it, so where the runtime's way with it is
 * known, that call, a third of what a start costs, is saved.
 */
import type { ExecFifoAccess } from "../contract/shim/start-channel";
import { close, runUntil, watch } from "./loop";
import * as files from "./syscalls/files";
import * as waiting from "./syscalls/waiting";

/** How to let the process go on: runc's waits for somebody who reads what it writes, crun's for something to read. */
export interface ExecFifo {
  readonly access: ExecFifoAccess;
  readonly path: string;
}

/**
 * Lets the process run as `<runtime> start` does.
 *
 * @param isWaitedFor the process is waited for only as long as it says so
 * @returns false when that is not the way with this container, or nobody waits any more: nothing has changed then
 */
export function openExecFifo(fifo: ExecFifo, isWaitedFor: () => boolean): boolean {
  const isReader = fifo.access === "read";
  const fd = files.open(fifo.path, (isReader ? files.O_RDONLY : files.O_WRONLY) + files.O_NONBLOCK);
  if (fd < 0) return false;
  let opened = false;
  if (isReader) {
    let hungUp = false;
    const read = () => {
      opened = opened || files.readText(fd, 1) !== "";
    };
    watch(fd, waiting.EPOLLIN, (mask) => {
      read();
      // The process has written what another has read: a later daemon has started it, too.
      hungUp = mask === waiting.EPOLLHUP;
    });
    runUntil(() => opened || hungUp || !isWaitedFor());
    // One that has ended already may have written before.
    read();
  } else {
    opened = files.write(fd, "\0", 1) === 1;
  }
  close(fd);
  // For as long as it is there the runtime calls the container "created".
  if (opened) files.unlink(fifo.path);
  return opened;
}
