/**
 * Calls about a name in a directory that is open: whoever changes paths meanwhile leads them nowhere else. Characters of names are bytes;
 * no link is followed. All throw a system error.
 */
import koffi from "koffi";
import { libc, systemError } from "./libc.js";

const openat = libc.func("int openat(int dir, const uint8_t *name, int flags, uint32_t mode)");
const closeCall = libc.func("int close(int fd)");
const mkdirat = libc.func("int mkdirat(int dir, const uint8_t *name, uint32_t mode)");
const mknodat = libc.func("int mknodat(int dir, const uint8_t *name, uint32_t mode, uint64_t device)");
const symlinkat = libc.func("int symlinkat(const uint8_t *target, int dir, const uint8_t *name)");
const linkat = libc.func("int linkat(int from, const uint8_t *fromName, int to, const uint8_t *toName, int flags)");
const renameat = libc.func("int renameat(int from, const uint8_t *fromName, int to, const uint8_t *toName)");
const unlinkat = libc.func("int unlinkat(int dir, const uint8_t *name, int flags)");
const fchownat = libc.func("int fchownat(int dir, const uint8_t *name, uint32_t uid, uint32_t gid, int flags)");
const utimensat = libc.func("int utimensat(int dir, const uint8_t *name, const uint8_t *times, int flags)");
const futimens = libc.func("int futimens(int fd, const uint8_t *times)");
const readlinkat = libc.func("long readlinkat(int dir, const uint8_t *name, _Out_ uint8_t *target, size_t size)");
const fstatfs = libc.func("int fstatfs(int fd, _Out_ uint8_t *result)");

const O_CLOEXEC = 0o2000000;
const AT_SYMLINK_NOFOLLOW = 0x100;
const AT_REMOVEDIR = 0x200;
const AT_EMPTY_PATH = 0x1000;

/** Finds the file and does nothing else: a device notices nothing, a FIFO's other side neither. */
export const O_PATH = 0o10000000;
/** A file that has no name yet, and goes with its descriptor when it gets none. */
export const O_TMPFILE = 0o20200000;

/** As long as the kernel takes a path to be, with the zero at its end. */
const LONGEST = 4096;
const first = Buffer.alloc(LONGEST);
const second = Buffer.alloc(LONGEST);
const EMPTY = Buffer.alloc(1);
/** Two of struct timespec: of access and of modification. */
const times = new BigInt64Array(4);
const timesBytes = Buffer.from(times.buffer);

export function openAt(dir: number, name: string, flags: number, mode = 0): number {
  const fd: number = openat(dir, bytes(name, first), flags | O_CLOEXEC, mode);
  if (fd < 0) throw failed("openat", name);
  return fd;
}

/** What {@link openAt} and the like have opened: Node's own calls warn, in a worker thread, of a descriptor that they have not opened. */
export function closeOpened(fd: number): void {
  if (closeCall(fd) !== 0) throw failed("close", "");
}

export function mkdirAt(dir: number, name: string, mode: number): void {
  if (mkdirat(dir, bytes(name, first), mode) !== 0) throw failed("mkdirat", name);
}

/** @param mode with the bits of its type; @param device as the kernel encodes it */
export function mknodAt(dir: number, name: string, mode: number, device: number): void {
  if (mknodat(dir, bytes(name, first), mode, device) !== 0) throw failed("mknodat", name);
}

export function symlinkAt(target: string, dir: number, name: string): void {
  if (symlinkat(bytes(target, second), dir, bytes(name, first)) !== 0) throw failed("symlinkat", name);
}

/** Gives an open file, of whatever kind, a name more. */
export function linkOpenedAt(fd: number, dir: number, name: string): void {
  if (linkat(fd, EMPTY, dir, bytes(name, first), AT_EMPTY_PATH) !== 0) throw failed("linkat", name);
}

export function renameAt(dir: number, from: string, to: string): void {
  if (renameat(dir, bytes(from, first), dir, bytes(to, second)) !== 0) throw failed("renameat", to);
}

export function unlinkAt(dir: number, name: string): void {
  if (unlinkat(dir, bytes(name, first), 0) !== 0) throw failed("unlinkat", name);
}

export function rmdirAt(dir: number, name: string): void {
  if (unlinkat(dir, bytes(name, first), AT_REMOVEDIR) !== 0) throw failed("unlinkat", name);
}

/** Of an open file, also one that was opened with {@link O_PATH}. */
export function chownOpened(fd: number, uid: number, gid: number): void {
  if (fchownat(fd, EMPTY, uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) !== 0) throw failed("fchownat", "");
}

/** The time of modification, and of access. */
export function setTimes(fd: number, seconds: number, nanoseconds: number): void {
  fill(seconds, nanoseconds);
  if (futimens(fd, timesBytes) !== 0) throw failed("futimens", "");
}

export function setTimesAt(dir: number, name: string, seconds: number, nanoseconds: number): void {
  fill(seconds, nanoseconds);
  if (utimensat(dir, bytes(name, first), timesBytes, AT_SYMLINK_NOFOLLOW) !== 0) throw failed("utimensat", name);
}

/** What a link says that was opened with {@link O_PATH} and O_NOFOLLOW. */
export function readLinkOpened(fd: number): string {
  const length = Number(readlinkat(fd, EMPTY, first, LONGEST));
  if (length < 0) throw failed("readlinkat", "");
  return first.toString("latin1", 0, length);
}

/** What kind of file system a file is on, as statfs(2) has it. */
export function fileSystemType(fd: number): number {
  if (fstatfs(fd, first) !== 0) throw failed("fstatfs", "");
  return first.readUInt32LE(0);
}

function fill(seconds: number, nanoseconds: number): void {
  times[0] = BigInt(seconds);
  times[1] = BigInt(nanoseconds);
  times[2] = times[0];
  times[3] = times[1];
}

function bytes(name: string, buffer: Buffer): Buffer {
  // What does not fit is as much too long for the kernel.
  const end = buffer.write(name, 0, LONGEST - 1, "latin1");
  buffer[end] = 0;
  if (end === name.length) return buffer;
  throw systemError("open", shown(name), koffi.os.errno.ENAMETOOLONG);
}

/** In characters: how much of a name an error quotes. */
const MAX_SHOWN = 300;

function shown(name: string): string {
  return Buffer.from(name.slice(0, MAX_SHOWN), "latin1").toString();
}

function failed(syscall: string, name: string): Error {
  const errno = koffi.errno();
  return systemError(syscall, name === "" ? undefined : shown(name), errno);
}
