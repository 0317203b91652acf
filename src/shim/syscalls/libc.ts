/**
 * What all system calls share. Each function of the files beside this one answers as the kernel itself does: the result, or the negative
 * errno, so that no caller needs a second call (or garbage) to learn what went wrong.
 */
import type { CData, CIntArray } from "ffi";
import * as ffi from "ffi";

export const ENOENT = 2;
export const EINTR = 4;
export const EIO = 5;
export const ENXIO = 6;
export const EAGAIN = 11;
export const EINVAL = 22;
export const ENOSPC = 28;
export const EPIPE = 32;
export const ENOSYS = 38;

/** All that was declared. */
let declared = "";

/**
 * Declares functions of libc, whose parameters the caller's interface names: LuaJIT would keep names for good.
 *
 * Results of the type ssize_t are declared int: they never pass 2 GB here, and LuaJIT boxes 64-bit integers in garbage. Variadic
 * functions are declared with their real arguments: LuaJIT would pass Lua numbers as doubles.
 *
 * @returns libc
 */
export function declare(declarations: string): unknown {
  ffi.cdef(declarations);
  declared += declarations;
  return ffi.C;
}

interface Libc {
  strerror(this: void, number: number): CData;
  syscall(this: void, number: number, a: number, b: number, c: number, d: number): number;
}

const libc = declare("char *strerror(int); int syscall(long, long, long, long, long);") as Libc;

/** Has every function looked up now: a forked child shares what was found. */
export function bindFunctions(): void {
  const functions = ffi.C as Record<string, unknown>;
  for (const [name] of string.gmatch(declared, "([%w_]+)%(")) pcall(() => functions[name]);
}

/** The result of a libc call, or its negative errno. */
export function outcome(result: number): number {
  return result < 0 ? -ffi.errno() : result;
}

/** A system call that older versions of libc have no function for. */
export function syscall(number: number, a: number, b: number, c: number): number {
  return outcome(libc.syscall(number, a, b, c, 0));
}

/** For results that the kernel writes to memory. */
export const intCell = ffi.new("int[32]") as CIntArray;

/** For what is copied into a string at once: a buffer for each call would be the most of what a start leaves to be collected. */
export const SCRATCH_SIZE = 8192;
export const scratch = ffi.new("char[?]", SCRATCH_SIZE);

/** The words for an error, as Go prints them: `no such file or directory`. */
export function errorText(negativeErrno: number): string {
  const text = ffi.string(libc.strerror(-negativeErrno));
  return string.lower(string.sub(text, 1, 1)) + string.sub(text, 2);
}
