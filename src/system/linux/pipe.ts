import { libc, systemError } from "./libc.js";

const pipe2 = libc.func("int pipe2(_Out_ int *ends, int flags)");
const fcntl = libc.func("int fcntl(int fd, int command, long argument)");
const O_CLOEXEC = 0x80000;
const O_NONBLOCK = 0x800;
const F_SETFL = 4;

/** A pipe (close-on-exec): its end for reading, which never waits, and its end for a child to write into. Throws a system error. */
export function makePipe(): [reader: number, writer: number] {
  const ends = [0, 0];
  if (pipe2(ends, O_CLOEXEC) !== 0) throw systemError("pipe2");
  const [reader, writer] = ends as [number, number];
  fcntl(reader, F_SETFL, O_NONBLOCK);
  return [reader, writer];
}
