/**
 * Everything the shim asks of the kernel. Each function answers as the kernel itself does: the result, or the
 * negative errno, so that no caller needs a second call (or garbage) to learn what went wrong.
 */

import type { CData, CIntArray } from "ffi";
import * as ffi from "ffi";

export const EINTR = 4;
export const EIO = 5;
export const ENXIO = 6;
export const EAGAIN = 11;
export const EINVAL = 22;
export const EPIPE = 32;
export const ENOSYS = 38;

export const O_RDONLY = 0;
export const O_WRONLY = 0x1;
export const O_RDWR = 0x2;
export const O_CREAT = 0x40;
const O_NOCTTY = 0x100;
export const O_TRUNC = 0x200;
export const O_APPEND = 0x400;
export const O_NONBLOCK = 0x800;
export const O_CLOEXEC = 0x80000;
const O_NOFOLLOW = ffi.arch === "arm64" ? 0x8000 : 0x20000;
/** For a file that we make: whatever stands in its place, opening it neither waits for somebody nor is about another file. */
export const O_OWN = O_NONBLOCK + O_NOFOLLOW;

export const EPOLLIN = 0x1;
export const EPOLLOUT = 0x4;
export const EPOLLHUP = 0x10;
/** Reports changes only, so that one registration serves for as long as the descriptor lives. */
export const EPOLLET = 0x80000000;

export const SIGKILL = 9;

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_NONBLOCK = O_NONBLOCK;
const SOCK_CLOEXEC = O_CLOEXEC;
const MSG_NOSIGNAL = 0x4000;
const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;
const SIG_SETMASK = 2;
const SIGCHLD = 17;
/** In a signal set. */
const SIGCHLD_BIT = 0x10000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const F_DUPFD_CLOEXEC = 1030;
const F_GETFL = 3;
const F_SETFD = 2;
const F_SETFL = 4;
const F_SETPIPE_SZ = 1031;
const F_GETPIPE_SZ = 1032;
const FD_CLOEXEC = 1;
const PR_SET_PDEATHSIG = 1;
const PR_SET_NAME = 15;
const PR_SET_CHILD_SUBREAPER = 36;
const PR_SET_MM = 35;
const PR_SET_MM_MAP = 14;
const MEMORY_MAP_SIZE = 104;
const P_ALL = 0;
const P_PID = 1;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x01000000;
const CLD_EXITED = 1;
const FIONREAD = 0x541b;
const TIOCSWINSZ = 0x5414;
const SPLICE_F_NONBLOCK = 2;
const CLOCK_MONOTONIC = 1;
const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const MADV_DONTNEED = 4;

// ssize_t results are declared int: they never pass 2 GB here, and LuaJIT boxes 64-bit integers in garbage.
// The variadic functions are declared with their real arguments: LuaJIT would pass Lua numbers as doubles.
const declarations = `
struct epoll_event { uint32_t events; int32_t fd; int32_t unused; } ${ffi.arch === "x64" ? "__attribute__((packed))" : "__attribute__((aligned(8)))"};
struct sockaddr_un { uint16_t family; char path[108]; };
struct iovec { void *base; size_t length; };
struct msghdr { void *name; unsigned namelen; struct iovec *iov; size_t iovlen; void *control; size_t controllen; int flags; };
struct cmsghdr { size_t length; int level; int type; int first; int second; };
struct timespec { long seconds; long nanoseconds; };
struct memory_map {
  uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack, arg_start, arg_end, env_start, env_end;
  void *auxv;
  uint32_t auxv_size, exe_fd;
};
struct winsize { unsigned short rows, columns, xpixel, ypixel; };
struct dirent { uint64_t inode; int64_t offset; unsigned short length; unsigned char type; char name[256]; };
extern char **environ;
int open(const char *path, int flags, unsigned mode);
int close(int fd);
int read(int fd, void *buffer, size_t length);
int write(int fd, const void *buffer, size_t length);
int splice(int source, void *from, int target, void *to, size_t length, unsigned flags);
int pipe2(int *ends, int flags);
int dup2(int from, int to);
int fcntl(int fd, int command, long argument);
int ioctl(int fd, unsigned long request, void *argument);
int fchmod(int fd, unsigned mode);
int fchown(int fd, unsigned uid, unsigned gid);
int ftruncate(int fd, long length);
int rename(const char *from, const char *to);
int unlink(const char *path);
int mkdir(const char *path, unsigned mode);
int chdir(const char *path);
int access(const char *path, int mode);
unsigned umask(unsigned mask);
void *opendir(const char *path);
struct dirent *readdir(void *directory);
int closedir(void *directory);
char *getcwd(char *buffer, size_t length);
char *strerror(int number);
char *getenv(const char *name);
int setenv(const char *name, const char *value, int overwrite);
int unsetenv(const char *name);
int getpid(void);
int getppid(void);
int getsid(int pid);
int setsid(void);
int fork(void);
int execve(const char *path, const char **arguments, char **environment);
int fexecve(int fd, const char **arguments, char **environment);
void _exit(int status);
int kill(int pid, int signal);
int waitid(int type, int id, int *info, int options);
int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
int sigprocmask(int how, const long *set, long *old);
void (*signal(int number, void (*handler)(int)))(int);
int signalfd(int fd, const long *set, int flags);
int epoll_create1(int flags);
int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event);
int epoll_wait(int epoll, struct epoll_event *events, int size, int timeout);
int socket(int domain, int type, int protocol);
int bind(int fd, const struct sockaddr_un *address, unsigned length);
int listen(int fd, int backlog);
int accept4(int fd, void *address, void *length, int flags);
int recvmsg(int fd, struct msghdr *message, int flags);
int send(int fd, const void *data, size_t length, int flags);
int recv(int fd, void *data, size_t length, int flags);
int clock_gettime(int clock, struct timespec *time);
void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset);
int madvise(void *address, size_t length, int advice);
void *sbrk(long growth);
int syscall(long number, long a, long b, long c, long d);
`;
ffi.cdef(declarations);

interface EpollEvent extends CData {
  events: number;
  fd: number;
}
interface EpollEvents extends CData {
  [index: number]: EpollEvent;
}

/** With room for two descriptors. */
interface ControlMessage extends CData {
  length: unknown;
  level: number;
  type: number;
  first: number;
  second: number;
}

interface DirectoryEntry extends CData {
  type: number;
  name: CData;
}

interface Libc {
  environ: CData;
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
  dup2(this: void, from: number, to: number): number;
  fcntl(this: void, fd: number, command: number, argument: number): number;
  ioctl(this: void, fd: number, request: number, argument: CData): number;
  fchmod(this: void, fd: number, mode: number): number;
  fchown(this: void, fd: number, uid: number, gid: number): number;
  ftruncate(this: void, fd: number, length: number): number;
  rename(this: void, from: string, to: string): number;
  unlink(this: void, path: string): number;
  mkdir(this: void, path: string, mode: number): number;
  chdir(this: void, path: string): number;
  access(this: void, path: string, mode: number): number;
  umask(this: void, mask: number): number;
  opendir(this: void, path: string): CData | undefined;
  readdir(this: void, directory: CData): DirectoryEntry | undefined;
  closedir(this: void, directory: CData): number;
  getcwd(this: void, buffer: CData, length: number): CData;
  strerror(this: void, number: number): CData;
  getenv(this: void, name: string): CData;
  setenv(this: void, name: string, value: string, overwrite: number): number;
  unsetenv(this: void, name: string): number;
  getpid(this: void): number;
  getppid(this: void): number;
  getsid(this: void, pid: number): number;
  setsid(this: void): number;
  fork(this: void): number;
  execve(this: void, path: string, args: CData, environment: CData): number;
  fexecve(this: void, fd: number, args: CData, environment: CData): number;
  _exit(this: void, status: number): never;
  kill(this: void, pid: number, signal: number): number;
  waitid(this: void, type: number, id: number, info: CData, options: number): number;
  prctl(this: void, option: number, a: unknown, b: unknown, c: number, d: number): number;
  sigprocmask(this: void, how: number, set: CData, old: undefined): number;
  signal(this: void, number: number, handler: undefined): void;
  signalfd(this: void, fd: number, set: CData, flags: number): number;
  epoll_create1(this: void, flags: number): number;
  epoll_ctl(this: void, epoll: number, operation: number, fd: number, event: CData | undefined): number;
  epoll_wait(this: void, epoll: number, events: CData, size: number, timeout: number): number;
  socket(this: void, domain: number, type: number, protocol: number): number;
  bind(this: void, fd: number, address: CData, length: number): number;
  listen(this: void, fd: number, backlog: number): number;
  accept4(this: void, fd: number, address: undefined, length: undefined, flags: number): number;
  recvmsg(this: void, fd: number, message: CData, flags: number): number;
  send(this: void, fd: number, data: string, length: number, flags: number): number;
  recv(this: void, fd: number, data: CData, length: number, flags: number): number;
  clock_gettime(this: void, clock: number, time: CData): number;
  mmap(
    this: void,
    address: undefined,
    length: number,
    protection: number,
    flags: number,
    fd: number,
    offset: number,
  ): CData;
  madvise(this: void, address: CData, length: number, advice: number): number;
  sbrk(this: void, growth: number): CData;
  syscall(this: void, number: number, a: number, b: number, c: number, d: number): number;
}
const libc = ffi.C as Libc;

/** Has every function looked up now: a forked child shares what was found. */
export function bindFunctions(): void {
  for (const [name] of string.gmatch(declarations, "([%w_]+)%("))
    pcall(() => (libc as unknown as Record<string, unknown>)[name]);
}

/** The result of a libc call, or its negative errno. */
function outcome(result: number): number {
  return result < 0 ? -ffi.errno() : result;
}

const intCell = ffi.new("int[32]") as CIntArray;

/** For what is copied into a string at once: a buffer for each call would be the most of what a start leaves to be collected. */
const scratchSize = 8192;
const scratch = ffi.new("char[?]", scratchSize);

/** The words for an error, as Go prints them: `no such file or directory`. */
export function errorText(negativeErrno: number): string {
  const text = ffi.string(libc.strerror(-negativeErrno));
  return string.lower(string.sub(text, 1, 1)) + string.sub(text, 2);
}

// Files

/** Never makes a terminal that somebody has put there ours: we lead a session, and would get its hang-up. */
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
  const buffer = length <= scratchSize ? scratch : ffi.new("char[?]", length);
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

/** Writes into a file that is there; where that fails, it stays as it is. */
function writeFile(path: string, text: string): void {
  const fd = open(path, O_WRONLY);
  if (fd < 0) return;
  write(fd, text, text.length);
  close(fd);
}

/** The names of the directories in a directory; none when it is gone. */
export function directoriesIn(path: string): string[] {
  const DT_DIR = 4;
  const names: string[] = [];
  const directory = libc.opendir(path);
  // A null pointer equals nil, and is not nil.
  if (directory === undefined) return names;
  while (true) {
    const entry = libc.readdir(directory);
    if (entry === undefined) break;
    const name = ffi.string(entry.name);
    if (entry.type === DT_DIR && name !== "." && name !== "..") names[names.length] = name;
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

export function ftruncate(fd: number, length: number): number {
  return outcome(libc.ftruncate(fd, length));
}

/** Closes what the launcher has left open by mistake, all but 0, 1, 2 and these two (-1: none): we live long, and would hold it. */
export function closeInherited(one: number, other: number): void {
  const SYS_close_range = 436;
  const last = 0x7fffffff;
  let first = 3;
  for (const kept of [math.min(one, other), math.max(one, other)]) {
    if (kept > first) libc.syscall(SYS_close_range, first, kept - 1, 0, 0);
    first = math.max(first, kept + 1);
  }
  libc.syscall(SYS_close_range, first, last, 0, 0);
}

/** Makes sure that 0, 1 and 2 are taken, so that no descriptor of ours is mistaken for one of them. */
export function occupyStandardDescriptors(): void {
  let fd = 0;
  while (fd >= 0 && fd <= 2) fd = libc.open("/dev/null", O_RDWR, 0);
  if (fd > 2) libc.close(fd);
}

/** Whether the path is there and we may execute it: 0, or a negative errno. */
export function executable(path: string): number {
  const X_OK = 1;
  return outcome(libc.access(path, X_OK));
}

export function getcwd(): string {
  return libc.getcwd(scratch, scratchSize) === undefined ? "" : ffi.string(scratch);
}

/** Moves up to `length` bytes between two descriptors, one of them a pipe, without copying them. */
export function splice(source: number, target: number, length: number): number {
  return outcome(libc.splice(source, undefined, target, undefined, length, SPLICE_F_NONBLOCK));
}

/** How many bytes can be read at once; 0 when nobody can tell. */
export function readable(fd: number): number {
  return libc.ioctl(fd, FIONREAD, intCell) < 0 ? 0 : intCell[0];
}

/** A pipe: its read and its write end, or a negative errno in place of the read end. */
export function pipe(): LuaMultiReturn<[number, number]> {
  const result = outcome(libc.pipe2(intCell, O_CLOEXEC));
  if (result < 0) return $multi(result, result);
  return $multi(intCell[0], intCell[1]);
}

export function fchown(fd: number, uid: number, gid: number): number {
  return outcome(libc.fchown(fd, uid, gid));
}

export function setNonBlocking(fd: number): void {
  libc.fcntl(fd, F_SETFL, libc.fcntl(fd, F_GETFL, 0) | O_NONBLOCK);
}

export function setBlocking(fd: number): void {
  libc.fcntl(fd, F_SETFL, libc.fcntl(fd, F_GETFL, 0) & ~O_NONBLOCK);
}

export function setCloseOnExec(fd: number): number {
  return outcome(libc.fcntl(fd, F_SETFD, FD_CLOEXEC));
}

/** Another descriptor for the same open file, or a negative errno. */
export function duplicate(fd: number): number {
  return outcome(libc.fcntl(fd, F_DUPFD_CLOEXEC, 3));
}

/** Whether the descriptor is a pipe or a FIFO: only those have a pipe size. */
export function isPipe(fd: number): boolean {
  return libc.fcntl(fd, F_GETPIPE_SZ, 0) > 0;
}

/** Asks for a pipe of that capacity; one that is refused stays as it is. */
export function setPipeCapacity(fd: number, bytes: number): void {
  libc.fcntl(fd, F_SETPIPE_SZ, bytes);
}

export function setWindowSize(fd: number, columns: number, rows: number): number {
  return outcome(libc.ioctl(fd, TIOCSWINSZ, ffi.new("struct winsize", rows, columns)));
}

// Processes and signals

/** An environment variable, taken out of the environment so that no child sees it. */
export function takeEnvironment(name: string): string | undefined {
  const value = libc.getenv(name);
  if (value === undefined) return undefined;
  const text = ffi.string(value);
  libc.unsetenv(name);
  return text;
}

/** An environment variable. */
export function environment(name: string): string | undefined {
  const value = libc.getenv(name);
  return value === undefined ? undefined : ffi.string(value);
}

export function setEnvironment(name: string, value: string): void {
  libc.setenv(name, value, 1);
}

export function chdir(directory: string): number {
  return outcome(libc.chdir(directory));
}

export function setUmask(mask: number): void {
  libc.umask(mask);
}

export function exit(status: number): never {
  return libc._exit(status);
}

/** The child's pid, 0 in the child itself, or a negative errno. */
export function fork(): number {
  return outcome(libc.fork());
}

/** What the kernel is told about this process's memory; a forked child has the same. */
let memoryMap: CData | undefined;
/** The kernel reads our command line from here: the collector must not take it. */
const held: { commandLine?: CData } = {};

/** A negative errno when it can't be read. */
function readMemoryMap(): CData | number {
  const stat = readFile("/proc/self/stat");
  if (typeof stat === "number") return stat;
  const fields: number[] = [];
  for (const [word] of string.gmatch(string.match(stat, "%) (.*)")[0] ?? "", "%S+")) {
    fields[fields.length] = tonumber(word) ?? 0;
  }
  // As proc(5) numbers them.
  const address = (number: number) => fields[number - 3];
  const map = ffi.new("struct memory_map");
  const values = map as unknown as Record<string, unknown>;
  values.start_code = address(26);
  values.end_code = address(27);
  values.start_data = address(45);
  values.end_data = address(46);
  values.start_brk = address(47);
  values.start_stack = address(28);
  values.env_start = address(50);
  values.env_end = address(51);
  // No other program file.
  values.exe_fd = 0xffffffff;
  return map;
}

/**
 * Sets what /proc/<pid>/cmdline tells of us. With the whole map of the process at once (a kernel with CHECKPOINT_RESTORE): setting the two
 * addresses alone takes CAP_SYS_RESOURCE, which a confined root may not have.
 */
export function setCommandLine(args: readonly string[]): number {
  const map = memoryMap ?? readMemoryMap();
  if (typeof map === "number") return map;
  memoryMap = map;
  const text = `${table.concat(args as string[], "\0")}\0`;
  const memory = ffi.new("char[?]", text.length, text);
  const start = ffi.cast("unsigned long", memory) as unknown as number;
  const values = map as unknown as Record<string, unknown>;
  values.brk = ffi.cast("unsigned long", libc.sbrk(0));
  values.arg_start = start;
  values.arg_end = start + text.length;
  const pointer = ffi.cast("unsigned long", ffi.cast("void *", map));
  const result = outcome(libc.prctl(PR_SET_MM, PR_SET_MM_MAP, pointer, MEMORY_MAP_SIZE, 0));
  if (result >= 0) held.commandLine = memory;
  return result;
}

export function getpid(): number {
  return libc.getpid();
}

/** Leaves the launcher's session unless it already made us the leader of one. */
export function leadOwnSession(): void {
  if (libc.getsid(0) !== libc.getpid()) libc.setsid();
}

/** The name in /proc/<pid>/comm. */
export function setName(name: string): void {
  libc.prctl(PR_SET_NAME, ffi.cast("unsigned long", ffi.cast("const char *", name)), 0, 0, 0);
}

/** Orphaned descendants become our children from now on. */
export function becomeSubreaper(): number {
  return outcome(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
}

/** Blocks every signal: none may end a shim, and SIGCHLD is read from a descriptor. */
export function blockSignals(): void {
  // Inherited as ignored it would have the kernel reap our children before we see their status.
  libc.signal(SIGCHLD, undefined);
  libc.sigprocmask(SIG_SETMASK, ffi.new("long[16]", -1), undefined);
}

/** A descriptor that becomes readable when a child has ended. */
export function childSignals(): number {
  const set = ffi.new("long[16]") as CIntArray;
  set[0] = SIGCHLD_BIT;
  return outcome(libc.signalfd(-1, set, O_CLOEXEC + O_NONBLOCK));
}

/** Takes what such a descriptor has to say; the next child's end makes it readable again. */
export function takeChildSignal(fd: number): void {
  libc.read(fd, intCell, 128);
}

export function kill(pid: number, signal: number): number {
  return outcome(libc.kill(pid, signal));
}

/** Whether the process is a child of ours, alive or dead. Then its pid can't have become another's. */
export function isChild(pid: number): boolean {
  return libc.waitid(P_PID, pid, intCell, WEXITED + WNOHANG + WNOWAIT) >= 0;
}

/** A dead child that still waits to be reaped, or 0. */
export function nextDead(): number {
  intCell[4] = 0;
  if (libc.waitid(P_ALL, 0, intCell, WEXITED + WNOHANG + WNOWAIT) < 0) return 0;
  return intCell[4];
}

/** Reaps that child. Its exit status: the exit code, or 128 and the number of the signal that killed it. */
export function reap(pid: number): number {
  intCell[4] = 0;
  if (libc.waitid(P_PID, pid, intCell, WEXITED + WNOHANG) < 0 || intCell[4] !== pid) return 255;
  return intCell[2] === CLD_EXITED ? intCell[6] : 128 + intCell[6];
}

/** A descriptor that becomes readable when the process has ended, whosever child it is; or a negative errno. */
export function openPidfd(pid: number): number {
  const SYS_pidfd_open = 434;
  return outcome(libc.syscall(SYS_pidfd_open, pid, 0, 0, 0));
}

/**
 * Forks and executes. The child dies with us, has every signal as it is by default, and `directory` as its working
 * directory. What goes wrong in the child is handed to `failed`, in the child, which then ends with 127.
 *
 * @param copy a descriptor of the program to execute in place of the file at `path`, where the kernel lets it; -1: none
 * @returns the child's pid, or a negative errno
 */
export function spawn(
  path: string,
  copy: number,
  args: string[],
  directory: string,
  stdin: number,
  stdout: number,
  stderr: number,
  failed: (what: string) => void,
): number {
  const argv = ffi.new("const char *[?]", args.length + 1) as ffi.CStringArray;
  for (const index of $range(1, args.length)) argv[index - 1] = args[index - 1];
  const parent = libc.getpid();
  const child = libc.fork();
  if (child !== 0) return outcome(child);

  libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (libc.getppid() !== parent) libc._exit(127);
  // What protects a daemon and its shims from the OOM killer is not for what they start; a specification may ask for another value.
  writeFile("/proc/self/oom_score_adj", "0");
  libc.dup2(stdin, 0);
  libc.dup2(stdout, 1);
  libc.dup2(stderr, 2);
  for (const number of $range(1, 64)) libc.signal(number, undefined);
  libc.sigprocmask(SIG_SETMASK, ffi.new("long[16]"), undefined);
  let result = outcome(libc.chdir(directory));
  if (result < 0) {
    failed(`chdir ${directory}: ${errorText(result)}`);
  } else {
    if (copy >= 0) libc.fexecve(copy, argv, libc.environ);
    result = outcome(libc.execve(path, argv, libc.environ));
    failed(`fork/exec ${path}: ${errorText(result)}`);
  }
  return libc._exit(127);
}

// Waiting

const eventsSize = 8;
const events = ffi.new("struct epoll_event[?]", eventsSize) as EpollEvents;
const interest = ffi.new("struct epoll_event") as EpollEvent;

export function createEpoll(): number {
  return outcome(libc.epoll_create1(O_CLOEXEC));
}

/** Adds a descriptor. -EPERM: it is of a kind that is always ready. */
export function watch(epoll: number, fd: number, mask: number): number {
  interest.events = mask;
  interest.fd = fd;
  return outcome(libc.epoll_ctl(epoll, EPOLL_CTL_ADD, fd, interest));
}

/** Has an edge-triggered descriptor report once more if it is ready now. */
export function watchAgain(epoll: number, fd: number, mask: number): number {
  interest.events = mask;
  interest.fd = fd;
  return outcome(libc.epoll_ctl(epoll, EPOLL_CTL_MOD, fd, interest));
}

export function unwatch(epoll: number, fd: number): void {
  libc.epoll_ctl(epoll, EPOLL_CTL_DEL, fd, undefined);
}

/** Waits for events (`timeout` in ms, -1: as long as it takes); how many there are. */
export function waitForEvents(epoll: number, timeout: number): number {
  return outcome(libc.epoll_wait(epoll, events, eventsSize, timeout));
}

/** The descriptor and the mask of an event of the last wait. */
export function eventAt(index: number): LuaMultiReturn<[number, number]> {
  const event = events[index];
  return $multi(event.fd, event.events);
}

const timespec = ffi.new("struct timespec") as CData & { seconds: unknown; nanoseconds: unknown };

/** Milliseconds of a clock that nobody sets. */
export function now(): number {
  libc.clock_gettime(CLOCK_MONOTONIC, timespec);
  return tonumber(timespec.seconds)! * 1000 + math.floor(tonumber(timespec.nanoseconds)! / 1e6);
}

// Sockets

/** A unix stream socket that listens at `path`, or a negative errno. */
export function listenUnix(path: string): number {
  const fd = outcome(libc.socket(AF_UNIX, SOCK_STREAM + SOCK_NONBLOCK + SOCK_CLOEXEC, 0));
  if (fd < 0) return fd;
  // Before it has a name, so that at no time anybody else can connect.
  libc.fchmod(fd, 0o600);
  let result = outcome(libc.bind(fd, ffi.new("struct sockaddr_un", AF_UNIX, path), 110));
  if (result >= 0) result = outcome(libc.listen(fd, 1));
  if (result >= 0) return fd;
  libc.close(fd);
  return result;
}

export function accept(fd: number): number {
  return outcome(libc.accept4(fd, undefined, undefined, SOCK_NONBLOCK + SOCK_CLOEXEC));
}

/** A message and up to two descriptors that came with it, -1 for one that did not; the length is 0 when the peer is gone, or a negative errno. */
function receiveMessage(fd: number, data: CData, size: number): LuaMultiReturn<[number, number, number]> {
  const SOL_SOCKET = 1;
  const SCM_RIGHTS = 1;
  const vector = ffi.new("struct iovec", data, size);
  const control = ffi.new("struct cmsghdr") as ControlMessage;
  const message = ffi.new("struct msghdr", undefined, 0, vector, 1, control, 24);
  const count = outcome(libc.recvmsg(fd, message, MSG_CMSG_CLOEXEC));
  const hasDescriptors = count >= 0 && control.level === SOL_SOCKET && control.type === SCM_RIGHTS;
  if (!hasDescriptors) return $multi(count, -1, -1);
  return $multi(count, control.first, tonumber(control.length) === 24 ? control.second : -1);
}

/** The descriptor that the peer of a unix socket sends, -EPIPE when it hung up without sending one. */
export function receiveDescriptor(fd: number): number {
  const [count, descriptor] = receiveMessage(fd, scratch, scratchSize);
  if (count < 0 || descriptor >= 0) return count < 0 ? count : descriptor;
  return count === 0 ? -EPIPE : -EAGAIN;
}

let packetBuffer: CData | undefined;

/** Waits for a packet: its text, empty when the peer is gone, and up to two descriptors that came with it, -1 for one that did not. */
export function receivePacket(fd: number): LuaMultiReturn<[string, number, number]> {
  const size = 16384;
  packetBuffer ??= ffi.new("char[?]", size);
  const data = packetBuffer;
  const [count, first, second] = receiveMessage(fd, data, size);
  return $multi(count > 0 ? ffi.string(data, count) : "", first, second);
}

/** Sends a packet, and waits until there is room for it. */
export function sendBlocking(fd: number, packet: string): number {
  return outcome(libc.send(fd, packet, packet.length, MSG_NOSIGNAL));
}

/** Sends a packet. */
export function send(fd: number, packet: string): number {
  return outcome(libc.send(fd, packet, packet.length, MSG_NOSIGNAL + MSG_DONTWAIT));
}

/** The next packet; undefined when there is none yet, empty when the peer is gone. */
export function receive(fd: number): string | undefined {
  const count = outcome(libc.recv(fd, scratch, scratchSize, MSG_DONTWAIT));
  if (count === -EAGAIN || count === -EINTR) return undefined;
  return count > 0 ? ffi.string(scratch, count) : "";
}

// Memory

/** Memory that the garbage collector does not know and that can be given back with `discard`. */
export function mapMemory(length: number): CData {
  return libc.mmap(undefined, length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
}

/** Gives the pages of mapped memory back; they read as zeros when they are used again. */
export function discard(memory: CData, length: number): void {
  libc.madvise(memory, length, MADV_DONTNEED);
}

/** Start and length of every mapping of program text; a forked child has the same. */
let textMappings: [number, number][] | undefined;

/** Looks up what `releaseText` gives back, so that no forked child has to. */
export function findText(): [number, number][] {
  if (textMappings !== undefined) return textMappings;
  const found: [number, number][] = [];
  const maps = readFile("/proc/self/maps");
  if (typeof maps === "string") {
    // The first line is never text; anonymous text (inode 0) could not come back.
    for (const [from, to] of string.gmatch(maps, "\n(%x+)-(%x+) r%-xp %x+ %x+:%x+ [1-9]")) {
      const start = tonumber(from, 16)!;
      found[found.length] = [start, tonumber(to, 16)! - start];
    }
  }
  textMappings = found;
  return found;
}

/**
 * Takes program text out of our page table: it is shared and comes back by itself, page by page as it is used, but as long as it is mapped it
 * counts as ours when the kernel looks for somebody to kill.
 */
export function releaseText(): void {
  for (const [start, length] of findText()) libc.madvise(ffi.cast("void *", start), length, MADV_DONTNEED);
}
