/** This process, its children, their signals. */
import type { CData, CIntArray, CStringArray } from "ffi";
import * as ffi from "ffi";
import { chdir, duplicate, read, readFile, writeFile } from "./files";
import { declare, errorText, intCell, outcome, syscall } from "./libc";

export const SIGKILL = 9;
/** In a signal set. */
const SIGCHLD_BIT = 0x10000;
const SIG_SETMASK = 2;
/** Close-on-exec and non-blocking. */
const SFD_OWN = 0x80800;
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

interface Libc {
  environ: CData;
  dup2(this: void, from: number, to: number): number;
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
  sbrk(this: void, growth: number): CData;
}

const libc = declare(`
struct memory_map {
  uint64_t start_code, end_code, start_data, end_data, start_brk, brk, start_stack, arg_start, arg_end, env_start, env_end;
  void *auxv;
  uint32_t auxv_size, exe_fd;
};
extern char **environ;
int dup2(int, int);
char *getenv(const char *);
int setenv(const char *, const char *, int);
int unsetenv(const char *);
int getpid(void);
int getppid(void);
int getsid(int);
int setsid(void);
int fork(void);
int execve(const char *, const char **, char **);
int fexecve(int, const char **, char **);
void _exit(int);
int kill(int, int);
int waitid(int, int, int *, int);
int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long);
int sigprocmask(int, const long *, long *);
void (*signal(int, void (*)(int)))(int);
int signalfd(int, const long *, int);
void *sbrk(long);
`) as Libc;

/** What the kernel is told about this process's memory; a forked child has the same. */
let memoryMap: CData | undefined;
/** The kernel reads our command line from here: the collector must not take it. */
const held: { commandLine?: CData } = {};

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

export function exit(status: number): never {
  return libc._exit(status);
}

/** The child's pid, 0 in the child itself, or a negative errno. */
export function fork(): number {
  return outcome(libc.fork());
}

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

/** Leaves the parent's session, unless we lead one already. */
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

/**
 * Makes every signal as it is by default, here and in all that is forked from now on: what a parent ignores its children ignore, whatever
 * they execute. Of an ignored SIGCHLD the kernel reaps the children, and their statuses are lost.
 */
export function resetSignals(): void {
  for (const number of $range(1, 64)) libc.signal(number, undefined);
}

/** Blocks every signal: none may end a shim, and SIGCHLD is read from a descriptor. */
export function blockSignals(): void {
  libc.sigprocmask(SIG_SETMASK, ffi.new("long[16]", -1), undefined);
}

/** A descriptor that becomes readable when a child has ended. */
export function childSignals(): number {
  const set = ffi.new("long[16]") as CIntArray;
  set[0] = SIGCHLD_BIT;
  return outcome(libc.signalfd(-1, set, SFD_OWN));
}

/** Takes what such a descriptor has to say; the next child's end makes it readable again. */
export function takeChildSignal(fd: number): void {
  read(fd, intCell, 128);
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
  return syscall(SYS_pidfd_open, pid, 0, 0);
}

/** What is executed, and with what. */
export interface Program {
  readonly path: string;
  /** A descriptor of the program to execute in place of the file, where the kernel lets it; -1: none. */
  readonly copy: number;
  /** With its name. */
  readonly args: readonly string[];
  /** `NAME=value`; undefined: ours. */
  readonly environment: readonly string[] | undefined;
  /** Its working directory. */
  readonly directory: string;
  /** What it gets as its descriptors 0, 1, …: none of them is one of 0, 1 and 2. */
  readonly descriptors: readonly number[];
}

/** Strings as execve(2) takes them. The caller keeps both alive: what is cast of the array does not. */
function stringArray(strings: readonly string[]): CStringArray {
  const array = ffi.new("const char *[?]", strings.length + 1) as CStringArray;
  for (const index of $range(1, strings.length)) array[index - 1] = strings[index - 1];
  return array;
}

/**
 * Forks and executes. The child dies with us; no signal is blocked in it. What goes wrong in the child is handed to `failed`,
 * in the child, which then ends with 127.
 *
 * @returns the child's pid, or a negative errno
 */
export function spawn(program: Program, failed: (what: string) => void): number {
  const { path, copy, environment, directory, descriptors } = program;
  const argv = stringArray(program.args);
  const ownEnvironment = environment === undefined ? undefined : stringArray(environment);
  const environ = ownEnvironment === undefined ? libc.environ : ffi.cast("char **", ownEnvironment);
  const parent = libc.getpid();
  const child = libc.fork();
  if (child !== 0) return outcome(child);

  libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (libc.getppid() !== parent) libc._exit(127);
  // What protects a daemon and its shims from the OOM killer is not for what they start; a specification may ask for another value.
  writeFile("/proc/self/oom_score_adj", "0");
  // Beyond all the numbers first: one of them may be that of a descriptor that is still to be given.
  const copies: number[] = [];
  for (const fd of descriptors) copies[copies.length] = duplicate(fd, descriptors.length);
  for (const index of $range(1, copies.length)) libc.dup2(copies[index - 1], index - 1);
  libc.sigprocmask(SIG_SETMASK, ffi.new("long[16]"), undefined);
  let result = chdir(directory);
  if (result < 0) {
    failed(`chdir ${directory}: ${errorText(result)}`);
  } else {
    if (copy >= 0) libc.fexecve(copy, argv, environ);
    result = outcome(libc.execve(path, argv, environ));
    failed(`fork/exec ${path}: ${errorText(result)}`);
  }
  return libc._exit(127);
}
