import { readSync, writeSync } from "node:fs";
import { hasCode, libc, systemError } from "./libc.js";

const eventfd = libc.func("int eventfd(unsigned int initial, int flags)");
const EFD_NONBLOCK = 0x800;
const EFD_CLOEXEC = 0x80000;

/** A new event descriptor (non-blocking, close-on-exec). Throws a system error. */
export function makeEventFd(): number {
  const fd: number = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) throw systemError("eventfd");
  return fd;
}

/** Makes the descriptor readable. */
export function signalEventFd(fd: number): void {
  const one = Buffer.alloc(8);
  one.writeBigUInt64LE(1n);
  writeSync(fd, one);
}

/** Takes what was signalled; 0n when nothing was. */
export function drainEventFd(fd: number): bigint {
  const count = Buffer.alloc(8);
  try {
    readSync(fd, count);
    return count.readBigUInt64LE();
  } catch (error) {
    if (hasCode(error, "EAGAIN")) return 0n;
    throw error;
  }
}
