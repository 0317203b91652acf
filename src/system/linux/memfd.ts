import { writeSync } from "node:fs";
import { libc, systemError } from "./libc.js";

const memfdCreate = libc.func("int memfd_create(const char *name, unsigned int flags)");
const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const fcntl = libc.func("int fcntl(int fd, int command, long argument)");
const F_ADD_SEALS = 1033;
/** Against more seals, shrinking, growing, writing: all that Linux 3.17 has. runc and crun look for just these. */
const ALL_SEALS = 0xf;

/** A file in memory, close-on-exec, holding `content` and to be read from its start: a child's stdin. Throws a system error. */
export function makeMemFd(name: string, content = ""): number {
  const fd: number = memfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) throw systemError("memfd_create");
  // At an explicit position, which leaves the file offset that the child inherits at 0.
  if (content !== "") writeSync(fd, content, 0);
  return fd;
}

/** Seals it: it can't be changed any more. Throws a system error. */
export function sealMemFd(fd: number): void {
  if (fcntl(fd, F_ADD_SEALS, ALL_SEALS) !== 0) throw systemError("fcntl");
}
