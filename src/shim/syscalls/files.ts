/** Files, directories and descriptors. */
import type { CData } from "ffi";
import * as ffi from "ffi";
import { declare, intCell, outcome, SCRATCH_SIZE, scratch, syscall } from "./libc";

export const O_RDONLY = 0;
export const O_WRONLY = 0x1;
export const O_RDWR = 0x2;
export const O_CREAT = 0x40;
const O_NOCTTY = 0x100;
export const O_TRUNC = 0x200;
export const O_APPEND = 0x400;
export const O_NONBLOCK = 0x800;
const O_CLOEXEC = 0x80000;
const O_NOFOLLOW = ffi.arch === "arm64" ? 0x8000 : 0x20000;
/** For a file that we make: opening whatever stands in its place neither waits nor follows a link. */
export const O_OWN = O_NONBLOCK + O_NOFOLLOW;

const F_DUPFD_CLOEXEC = 1030;
const F_GETFL = 3;
const F_SETFD = 2;
const F_SETFL = 4;
const F_SETPIPE_SZ = 1031;
const F_GETPIPE_SZ = 1032;
const FD_CLOEXEC = 1;
const FIONREAD = 0x541b;
const TIOCSWINSZ = 0x5414;
const SPLICE_F_NONBLOCK = 2;
const SEEK_END = 2;

interface DirectoryEntry extends CData {
  type: number;
  name: CData;
}

interface Libc {
  open(this: void, path: string, flags: number, mode: number): number;
  close(this: void, fd: number): number;
  read(this: void, fd: number, buffer: CData, length: number): number;
  write(this: void, fd: number, buffer: CData | string, length: number): number;
  splice(
    this: void,
    source: number,
    from: undefined,
    target: number,
    to: undefined,
    length: number,
    flags: number,
  ): number;
  pipe2(this: void, ends: CData, flags: number): number;
  fcntl(this: void, fd: number, command: number, argument: number): number;
  ioctl(this: void, fd: number, request: number, argument: CData): number;
  fchown(this: void, fd: number, uid: number, gid: number): number;
  ftruncate(this: void, fd: number, length: number): number;
  lseek(this: void, fd: number, offset: number, whence: number): unknown;
  rename(this: void, from: string, to: string): number;
  unlink(this: void, path: string): number;
  mkdir(this: void, path: string, mode: number): number;
  rmdir(this: void, path: string): number;
  chdir(this: void, path: string): number;
  access(this: void, path: string, mode: number): number;
  umask(this: void, mask: number): number;
  opendir(this: void, path: string): CData | undefined;
  readdir(this: void, directory: CData): DirectoryEntry | undefined;
  closedir(this: void, directory: CData): number;
  getcwd(this: void, buffer: CData, length: number): CData;
}

const libc = declare(`
struct winsize { unsigned short rows, columns, xpixel, ypixel; };
struct dirent { uint64_t inode; int64_t offset; unsigned short length; unsigned char type; char name[256]; };
int open(const char *, int, unsigned);
int close(int);
int read(int, void *, size_t);
int write(int, const void *, size_t);
int splice(int, void *, int, void *, size_t, unsigned);
int pipe2(int *, int);
int fcntl(int, int, long);
int ioctl(int, unsigned long, void *);
int fchown(int, unsigned, unsigned);
int ftruncate(int, long);
long lseek(int, long, int);
int rename(const char *, const char *);
int unlink(const char *);
int mkdir(const char *, unsigned);
int rmdir(const char *);
int chdir(const char *);
int access(const char *, int);
unsigned umask(unsigned);
void *opendir(const char *);
struct dirent *readdir(void *);
int closedir(void *);
char *getcwd(char *, size_t);
`) as Libc;

/** A terminal in the place of the file does not become our controlling terminal (O_NOCTTY): its hang-up would be sent to us. */
export function open(path: string, flags: number, mode = 0): number {
  return outcome(libc.open(path, flags + O_CLOEXEC + O_NOCTTY, mode));
}

export function close(fd: number): void {
  libc.close(fd);
}

export function read(fd: number, buffer: CData, length: number): number {
  return outcome(libc.read(fd, buffer, length));
}

export function write(fd: number, data: CData | string, length: number): number {
  return outcome(libc.write(fd, data, length));
}

/** What can be read now, up to `length` bytes; empty when nothing can. */
export function readText(fd: number, length: number): string {
  const buffer = length <= SCRATCH_SIZE ? scratch : ffi.new("char[?]", length);
  const count = read(fd, buffer, length);
  return count > 0 ? ffi.string(buffer, count) : "";
}

/** The whole of a small file, or a negative errno. */
export function readFile(path: string): string | number {
  const fd = open(path, O_RDONLY);
  if (fd < 0) return fd;
  let text = "";
  while (true) {
    const more = readText(fd, 4096);
    text += more;
    if (more === "") break;
  }
  close(fd);
  return text;
}

/** The last bytes of a file, up to `length`, and its size; nothing of one that can't be read. */
export function readEnd(path: string, length: number): LuaMultiReturn<[string, number]> {
  const fd = open(path, O_RDONLY + O_OWN);
  if (fd < 0) return $multi("", 0);
  const size = tonumber(libc.lseek(fd, 0, SEEK_END))!;
  libc.lseek(fd, -math.min(size, length), SEEK_END);
  const text = readText(fd, length);
  close(fd);
  return $multi(text, size);
}

/** Writes into a file that is there; where that fails, it stays as it is. */
export function writeFile(path: string, text: string): void {
  const fd = open(path, O_WRONLY);
  if (fd < 0) return;
  write(fd, text, text.length);
  close(fd);
}

/** The names of the directories in a directory; none when it is gone. */
export function directoriesIn(path: string): string[] {
  const DT_DIR = 4;
  return namesIn(path, DT_DIR);
}

/** The names of the regular files in a directory; none when it is gone. */
export function filesIn(path: string): string[] {
  const DT_REG = 8;
  return namesIn(path, DT_REG);
}

function namesIn(path: string, kind: number): string[] {
  const names: string[] = [];
  const directory = libc.opendir(path);
  // A null pointer equals nil, and is not nil.
  if (directory === undefined) return names;
  while (true) {
    const entry = libc.readdir(directory);
    if (entry === undefined) break;
    const name = ffi.string(entry.name);
    if (entry.type === kind && name !== "." && name !== "..") names[names.length] = name;
  }
  libc.closedir(directory);
  return names;
}

export function rename(from: string, to: string): number {
  return outcome(libc.rename(from, to));
}

export function unlink(path: string): number {
  return outcome(libc.unlink(path));
}

export function mkdir(path: string, mode: number): number {
  return outcome(libc.mkdir(path, mode));
}

export function rmdir(path: string): number {
  return outcome(libc.rmdir(path));
}

export function ftruncate(fd: number, length: number): number {
  return outcome(libc.ftruncate(fd, length));
}

export function fchown(fd: number, uid: number, gid: number): number {
  return outcome(libc.fchown(fd, uid, gid));
}

/** Whether the path is there and we may execute it: 0, or a negative errno. */
export function executable(path: string): number {
  const X_OK = 1;
  return outcome(libc.access(path, X_OK));
}

export function exists(path: string): boolean {
  const F_OK = 0;
  return libc.access(path, F_OK) === 0;
}

export function getcwd(): string {
  return libc.getcwd(scratch, SCRATCH_SIZE) === undefined ? "" : ffi.string(scratch);
}

export function chdir(directory: string): number {
  return outcome(libc.chdir(directory));
}

export function setUmask(mask: number): void {
  libc.umask(mask);
}

/**
 * Closes all descriptors but 0, 1, 2 and these two (-1: none): what the parent has left open by mistake would stay open as long as the
 * shim lives.
 */
export function closeInherited(one: number, other: number): void {
  const SYS_close_range = 436;
  const last = 0x7fffffff;
  let first = 3;
  for (const kept of [math.min(one, other), math.max(one, other)]) {
    if (kept > first) syscall(SYS_close_range, first, kept - 1, 0);
    first = math.max(first, kept + 1);
  }
  syscall(SYS_close_range, first, last, 0);
}

/** Opens /dev/null as 0, 1 and 2 where they are closed, so that no later descriptor gets one of these numbers. */
export function occupyStandardDescriptors(): void {
  let fd = 0;
  while (fd >= 0 && fd <= 2) fd = libc.open("/dev/null", O_RDWR, 0);
  if (fd > 2) libc.close(fd);
}

/** Another descriptor for the same open file, with a number not below `lowest`, or a negative errno. */
export function duplicate(fd: number, lowest = 3): number {
  return outcome(libc.fcntl(fd, F_DUPFD_CLOEXEC, lowest));
}

export function setCloseOnExec(fd: number): number {
  return outcome(libc.fcntl(fd, F_SETFD, FD_CLOEXEC));
}

export function setNonBlocking(fd: number): void {
  libc.fcntl(fd, F_SETFL, libc.fcntl(fd, F_GETFL, 0) | O_NONBLOCK);
}

export function setBlocking(fd: number): void {
  libc.fcntl(fd, F_SETFL, libc.fcntl(fd, F_GETFL, 0) & ~O_NONBLOCK);
}

/** A pipe: its read and its write end, or a negative errno in place of the read end. */
export function pipe(): LuaMultiReturn<[number, number]> {
  const result = outcome(libc.pipe2(intCell, O_CLOEXEC));
  if (result < 0) return $multi(result, result);
  return $multi(intCell[0], intCell[1]);
}

/** Whether the descriptor is a pipe or a FIFO: only those have a pipe size. */
export function isPipe(fd: number): boolean {
  return libc.fcntl(fd, F_GETPIPE_SZ, 0) > 0;
}

/** Asks for a pipe of that capacity; one that is refused stays as it is. */
export function setPipeCapacity(fd: number, bytes: number): void {
  libc.fcntl(fd, F_SETPIPE_SZ, bytes);
}

/** How many bytes can be read at once; 0 when the kernel does not say. */
export function readable(fd: number): number {
  return libc.ioctl(fd, FIONREAD, intCell) < 0 ? 0 : intCell[0];
}

/** Moves up to `length` bytes between two descriptors, one of them a pipe, without copying them. */
export function splice(source: number, target: number, length: number): number {
  return outcome(libc.splice(source, undefined, target, undefined, length, SPLICE_F_NONBLOCK));
}

export function setWindowSize(fd: number, columns: number, rows: number): number {
  return outcome(libc.ioctl(fd, TIOCSWINSZ, ffi.new("struct winsize", rows, columns)));
}
