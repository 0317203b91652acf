/** What the kernel tells of tasks: the ends of shims and processes, and OOM kills. */
import { closeSync, constants, openSync } from "node:fs";
import type { OomWatch } from "../../system/cgroup/cgroup.js";
import { EPOLLHUP, EPOLLIN, epoll } from "../../system/linux/epoll.js";
import { hasCode } from "../../system/linux/libc.js";
import { openPidFd } from "../../system/linux/pidfd.js";
import { isAlive } from "../../system/linux/proc-stat.js";
import { withReserve } from "../../system/linux/reserved-descriptors.js";

/**
 * Resolves when the shim behind an exit FIFO has ended; rejects with a system error when that can't be seen. The caller keeps the
 * descriptor open until then and closes it afterwards.
 * @param path of the FIFO, when the shim may have ended before `fd` was opened: a FIFO that never had a writer doesn't hang up
 */
export function watchExit(fd: number, path?: string): Promise<void> {
  const exited = new Promise<void>((resolve) => {
    epoll.add(fd, 0, (events) => {
      if ((events & EPOLLHUP) === 0) return;
      resolve();
      epoll.remove(fd);
    });
    if (path !== undefined) touchAsWriter(path);
  });
  // Whoever follows the process hears of it, perhaps only later.
  exited.catch(() => {});
  return exited;
}

/** Resolves when the process that has this pid and this start time has ended, whoever reaps it. Rejects with a system error. */
export async function processEnd(pid: number, startTime: string): Promise<void> {
  let fd: number;
  try {
    fd = withReserve(() => openPidFd(pid));
  } catch (error) {
    if (hasCode(error, "ESRCH")) return;
    throw error;
  }
  try {
    // After the descriptor was opened, which holds one process.
    if (!isAlive(pid, startTime)) return;
    await new Promise<void>((resolve) => epoll.add(fd, EPOLLIN, () => resolve()));
    epoll.remove(fd);
  } finally {
    closeSync(fd);
  }
}

/** Ends an exit watch that is not over; its promise never resolves. */
export function forgetExit(fd: number): void {
  epoll.remove(fd);
}

/**
 * Calls `onOom` at each OOM kill until the watch is ended, by the caller or by an error that `onError` is told of. Throws a system error;
 * the watch is closed then.
 */
export function subscribeOom(watch: OomWatch, onOom: () => void, onError: (error: unknown) => void): OomSubscription {
  let ended = false;
  const end = () => {
    if (ended) return;
    ended = true;
    epoll.remove(watch.fd);
    watch.close();
  };
  const read = () => {
    if (ended) return "nothing";
    try {
      const news = watch.read();
      if (news === "oom") onOom();
      return news;
    } catch (error) {
      end();
      onError(error);
      return "nothing";
    }
  };
  try {
    epoll.add(watch.fd, EPOLLIN, read);
  } catch (error) {
    watch.close();
    throw error;
  }
  return { read, end };
}
/** A watch for OOM kills that goes on. */
export interface OomSubscription {
  /** Calls `onOom` now for what has not been told yet; answers as {@link OomWatch.read}. */
  read(): ReturnType<OomWatch["read"]>;
  /** Ends the watch. */
  end(): void;
}

/** Opens and closes the write end: if nobody else holds it, that makes the reader see the hang-up it came too late for. */
function touchAsWriter(path: string): void {
  try {
    withReserve(() => closeSync(openSync(path, constants.O_WRONLY | constants.O_NONBLOCK)));
  } catch (error) {
    // Somebody has removed it, so nobody can open it any more: the wait ends when the container is removed.
    if (!hasCode(error, "ENOENT")) throw error;
  }
}
