import { closeSync, openSync } from "node:fs";
import { exitNow } from "../linux/exit-now.js";
import { libc, systemError } from "../linux/libc.js";

const setns = libc.func("int setns(int fd, int type)");
const CLONE_NEWNET = 0x40000000;

/** This process's own, once it was needed. */
let own: number | undefined;

/**
 * Runs something in another network namespace: sockets that it makes, and files of /proc/sys/net that it opens, are that one's from then
 * on. It must not wait: all of this thread is there meanwhile.
 * @param namespace a descriptor
 * @throws a system error, or what it throws. A process that can't come back ends at once, with status 1
 */
export function inNetworkNamespace<T>(namespace: number, operation: () => T extends Promise<unknown> ? never : T): T {
  // Of this thread, whose namespace it is that is left.
  own ??= openSync("/proc/thread-self/ns/net", "r");
  if (setns(namespace, CLONE_NEWNET) !== 0) throw systemError("setns");
  try {
    return operation();
  } finally {
    if (setns(own, CLONE_NEWNET) !== 0) exitNow(1);
  }
}

/** The network namespace of a process. @returns a descriptor, to be closed @throws a system error */
export function openNetworkNamespace(pid: number): number {
  return openSync(`/proc/${pid}/ns/net`, "r");
}

/** As {@link openNetworkNamespace}, and it is closed at the end of the block. */
export function networkNamespaceOf(pid: number): Disposable & { fd: number } {
  const fd = openNetworkNamespace(pid);
  return { fd, [Symbol.dispose]: () => closeSync(fd) };
}
