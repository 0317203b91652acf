/** Network namespaces, and this process's limits. */
import type { CData } from "ffi";
import * as ffi from "ffi";
import { O_RDONLY, open } from "../../shim/syscalls/files";
import { declare, errorText, outcome, SCRATCH_SIZE, scratch } from "../../shim/syscalls/libc";
import { exit } from "../../shim/syscalls/processes";
import { logError } from "../log";

const CLONE_NEWNET = 0x40000000;
const RLIMIT_NOFILE = 7;

interface Limits extends CData {
  soft: unknown;
  hard: unknown;
}

interface Libc {
  setns(this: void, fd: number, type: number): number;
  readlink(this: void, path: string, target: CData, size: number): number;
  getrlimit(this: void, resource: number, limits: CData): number;
  setrlimit(this: void, resource: number, limits: CData): number;
}

const libc = declare(`
struct limits { uint64_t soft, hard; };
int setns(int, int);
int readlink(const char *, char *, size_t);
int getrlimit(int, struct limits *);
int setrlimit(int, const struct limits *);
`) as Libc;

let own = -1;

/** Which namespace a descriptor is of, as long as somebody keeps that: `net:[4026531840]`. */
export function namespaceName(fd: number): string {
  const count = libc.readlink(`/proc/self/fd/${fd}`, scratch, SCRATCH_SIZE);
  return count > 0 ? ffi.string(scratch, count) : "";
}

/** That of this process. Throws a message. */
export function ownNamespace(): number {
  if (own < 0) own = open("/proc/self/ns/net", O_RDONLY);
  return own < 0 ? error(`/proc/self/ns/net: ${errorText(own)}`, 0) : own;
}

/**
 * Makes sockets in a network namespace: each belongs to the one that it was made in. Who can't come back must not go on, or it would do in
 * a container's namespace what it means to do on the host.
 *
 * @returns 0, or a negative errno, when nothing was made
 */
export function within(namespace: number, make: () => void): number {
  const home = ownNamespace();
  const result = outcome(libc.setns(namespace, CLONE_NEWNET));
  if (result < 0) return result;
  const [ok, message] = pcall(make);
  const back = outcome(libc.setns(home, CLONE_NEWNET));
  if (back < 0) {
    logError(`can't leave a container's network namespace: ${errorText(back)}`);
    exit(1);
  }
  return ok ? 0 : error(message, 0);
}

/** As many descriptors as the process may have: each container takes some. */
export function raiseDescriptorLimit(): void {
  const limits = ffi.new("struct limits") as Limits;
  if (libc.getrlimit(RLIMIT_NOFILE, limits) < 0) return;
  limits.soft = limits.hard;
  libc.setrlimit(RLIMIT_NOFILE, limits);
}
