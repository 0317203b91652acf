import { closeSync } from "node:fs";
import { libc, systemError } from "./libc.js";

const epollCreate1 = libc.func("int epoll_create1(int flags)");
const epollCtl = libc.func("int epoll_ctl(int epfd, int op, int fd, uint8_t *event)");

const EPOLL_CLOEXEC = 0x80000;
const EPOLL_CTL_ADD = 1;
const EPOLLPRI = 0x002;

/**
 * A new descriptor that is readable (EPOLLIN) once the kernel has announced a change of the file, and until the file is read again
 * from its start. For files of cgroup v2 and sysfs that say in their documentation that they notify: they are always readable
 * themselves, and announce a change as POLLPRI only. The new descriptor is an epoll set of one, and can be put into another.
 *
 * Readable at first, until the first read. Throws a system error (EPERM for a file that can't be polled).
 */
export function watchNotifiedFile(fd: number): number {
  const set: number = epollCreate1(EPOLL_CLOEXEC);
  if (set < 0) throw systemError("epoll_create1");
  // struct epoll_event: the events come first; its size differs between machines and 16 is the larger.
  const event = Buffer.alloc(16);
  event.writeUInt32LE(EPOLLPRI, 0);
  if (epollCtl(set, EPOLL_CTL_ADD, fd, event) !== 0) {
    const error = systemError("epoll_ctl");
    closeSync(set);
    throw error;
  }
  return set;
}
