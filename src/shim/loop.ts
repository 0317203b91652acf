/**
 * The one loop of the shim. The shim's own course is straight-line code that calls `runUntil` where it has to wait;
 * what goes on beside it (copying, reaping, control messages) are handlers of descriptors. A handler never waits.
 */
import * as files from "./syscalls/files";
import { errorText } from "./syscalls/libc";
import * as waiting from "./syscalls/waiting";

/** Called with the epoll events of the descriptor. */
export type Handler = (mask: number) => void;

let epoll = -1;
const handlers = new LuaTable<number, Handler>();
/** When each of these is to be called. */
const alarms = new LuaTable<() => void, number>();

/** Makes the loop. Throws a message. */
export function openLoop(): void {
  epoll = waiting.createEpoll();
  if (epoll < 0) error(`epoll: ${errorText(epoll)}`, 0);
}

/** Starts to watch a descriptor. -EPERM: it is a regular file or the like, which is always ready. */
export function watch(fd: number, mask: number, handler: Handler): number {
  const result = waiting.watch(epoll, fd, mask);
  if (result >= 0) handlers.set(fd, handler);
  return result;
}

/** Has a descriptor watched with EPOLLET report once more if it is ready now. */
export function watchAgain(fd: number, mask: number): void {
  waiting.watchAgain(epoll, fd, mask);
}

/** Watches for something else from now on, 0: for its hang-up alone. */
export function rewatch(fd: number, mask: number, handler: Handler): void {
  handlers.set(fd, handler);
  waiting.watchAgain(epoll, fd, mask);
}

/** Stops watching a descriptor and closes it. */
export function close(fd: number): void {
  if (fd < 0) return;
  if (handlers.has(fd)) {
    handlers.delete(fd);
    // A copy of it may be open in a runtime that is just being started, so closing alone would not take it out.
    waiting.unwatch(epoll, fd);
  }
  files.close(fd);
}

/** Calls back once, in so many ms; another time for the same callback takes the place of the first. */
export function callIn(milliseconds: number, callback: () => void): void {
  alarms.set(callback, waiting.now() + milliseconds);
}

/** Calls one who is due; when there is something to do again. */
function ring(): number | undefined {
  let next: number | undefined;
  for (const [callback, time] of alarms) {
    if (time <= waiting.now()) {
      alarms.delete(callback);
      callback();
      // It may have changed the table that this goes through.
      return time;
    }
    if (next === undefined || time < next) next = time;
  }
  return next;
}

/**
 * Handles events until `condition` holds. It is looked at before the first wait and after each.
 *
 * @param deadline in ms of `waiting.now()`; without it the wait has no end of its own
 * @returns false when the deadline came first
 */
export function runUntil(condition: () => boolean, deadline?: number): boolean {
  while (!condition()) {
    let timeout = -1;
    if (deadline !== undefined) {
      timeout = deadline - waiting.now();
      if (timeout <= 0) return false;
    }
    const alarm = ring();
    if (alarm !== undefined) {
      const left = math.max(alarm - waiting.now(), 0);
      if (timeout < 0 || left < timeout) timeout = left;
    }
    const count = waiting.waitForEvents(epoll, timeout);
    for (const index of $range(0, count - 1)) {
      const [fd, mask] = waiting.eventAt(index);
      // An earlier event of the same round may have closed it.
      handlers.get(fd)?.(mask);
    }
  }
  return true;
}

const never = () => false;

/** Handles events for so many milliseconds. */
export function runFor(milliseconds: number): void {
  runUntil(never, waiting.now() + milliseconds);
}
