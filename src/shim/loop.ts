/**
 * The one loop of the shim. The shim's own course is straight-line code that calls `runUntil` where it has to wait;
 * what goes on beside it (copying, reaping, control messages) are handlers of descriptors. A handler never waits.
 */
import * as sys from "./syscalls";

/** Called with the epoll events of the descriptor. */
export type Handler = (mask: number) => void;

let epoll = -1;
const handlers = new LuaTable<number, Handler>();

/** Makes the loop. Throws a message. */
export function openLoop(): void {
  epoll = sys.createEpoll();
  if (epoll < 0) error(`epoll: ${sys.errorText(epoll)}`, 0);
}

/** Starts to watch a descriptor. -EPERM: it is a regular file or the like, which is always ready. */
export function watch(fd: number, mask: number, handler: Handler): number {
  const result = sys.watch(epoll, fd, mask);
  if (result >= 0) handlers.set(fd, handler);
  return result;
}

/** Has a descriptor watched with EPOLLET report once more if it is ready now. */
export function watchAgain(fd: number, mask: number): void {
  sys.watchAgain(epoll, fd, mask);
}

/** Stops watching a descriptor and closes it. */
export function close(fd: number): void {
  if (fd < 0) return;
  if (handlers.has(fd)) {
    handlers.delete(fd);
    // A copy of it may be open in a runtime that is just being started, so closing alone would not take it out.
    sys.unwatch(epoll, fd);
  }
  sys.close(fd);
}

/**
 * Handles events until `condition` holds. It is looked at before the first wait and after each.
 *
 * @param deadline in ms of `sys.now()`; without it the wait has no end of its own
 * @returns false when the deadline came first
 */
export function runUntil(condition: () => boolean, deadline?: number): boolean {
  while (!condition()) {
    let timeout = -1;
    if (deadline !== undefined) {
      timeout = deadline - sys.now();
      if (timeout <= 0) return false;
    }
    const count = sys.waitForEvents(epoll, timeout);
    for (const index of $range(0, count - 1)) {
      const [fd, mask] = sys.eventAt(index);
      // An earlier event of the same round may have closed it.
      handlers.get(fd)?.(mask);
    }
  }
  return true;
}

const never = () => false;

/** Handles events for so many milliseconds. */
export function runFor(milliseconds: number): void {
  runUntil(never, sys.now() + milliseconds);
}
