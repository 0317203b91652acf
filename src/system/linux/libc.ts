import { getSystemErrorMap, inspect } from "node:util";
import koffi from "koffi";

/** The C library this process already runs on (glibc or musl). */
export const libc = koffi.load(null);

/**
 * A system call by number, for those that older C libraries have no function for; -1 on failure. Numbers above 423 are the same on every
 * architecture.
 */
export const syscall = libc.func("long syscall(long number, long a, long b, long c, long d)");

const strerror = libc.func("const char *strerror(int errnum)");

/** What a failed system call throws here: shaped as Node's own errors are. */
export interface SystemError extends Error {
  /** "ENOENT" */
  code: string;
  /** Negative, as in Node. */
  errno: number;
  syscall: string;
  path?: string;
}

const codes = new Map(Object.entries(koffi.os.errno).map(([code, errno]) => [errno, code]));

/**
 * The error of a system call that has just failed. The message is worded as Go words it (`open /x: no such file or directory`):
 * old clients match on those words.
 */
export function systemError(syscall: string, path?: string, errno: number = koffi.errno()): SystemError {
  const what = path === undefined ? syscall : `${syscall} ${path}`;
  const error = new Error(`${what}: ${errnoText(errno)}`) as SystemError;
  error.code = codes.get(errno) ?? `errno ${errno}`;
  error.errno = -errno;
  error.syscall = syscall;
  if (path !== undefined) error.path = path;
  return error;
}

/** "no such file or directory" for ENOENT (2); `errno` is positive. */
export function errnoText(errno: number): string {
  const text: string = strerror(errno);
  // Go lowers the first word only, and leaves abbreviations ("RPC version wrong") alone.
  return /^[A-Z][a-z]/.test(text) ? text[0]!.toLowerCase() + text.slice(1) : text;
}

/** True for errors of Node's fs and of {@link systemError} with this code. */
export function hasCode(error: unknown, code: string): boolean {
  return (error as { code?: unknown } | undefined)?.code === code;
}

type NodeError = Partial<SystemError> & { dest?: string; hostname?: string };

/**
 * An error's text as Go words it: Node's own `ENOENT: no such file or directory, open '/x'` becomes `open /x: no such file or directory`.
 */
export function errorText(error: unknown): string {
  if (typeof error !== "object" || error === null) return String(error);
  const { code, message, errno, syscall, path, dest, hostname } = error as NodeError;
  if (typeof errno !== "number" || typeof syscall !== "string") return message ?? inspect(error);
  const where = [syscall, path, dest, hostname].filter((part) => part !== undefined).join(" ");
  // A look-up of a name fails with a number of libuv's own, which strerror(3) does not know.
  const why = code === "ENOTFOUND" ? "no such host" : hostname !== undefined && getSystemErrorMap().get(errno)?.[1];
  return `${where}: ${why || errnoText(Math.abs(errno))}`;
}
