import { closeSync } from "node:fs";
import { type ExitStatus, SIGNALLED } from "../../contract/shim/exit-status.js";
import { libc, syscall, systemError } from "./libc.js";
import { startTimeOf } from "./proc-stat.js";
import { withReserve } from "./reserved-descriptors.js";

const waitpidCall = libc.func("int waitpid(int pid, _Out_ int *status, int options)");
const kill = libc.func("int kill(int pid, int signal)");
const SIGKILL = 9;
const SYS_pidfd_send_signal = 424;
const SYS_pidfd_open = 434;
const WNOHANG = 1;

/**
 * Opens a pidfd: it becomes readable when the process ends, and never means another process with the same pid. Throws a system error; ESRCH
 * when there is no such process.
 */
export function openPidFd(pid: number): number {
  const fd = Number(syscall(SYS_pidfd_open, pid, 0, 0, 0));
  if (fd < 0) throw systemError("pidfd_open");
  return fd;
}

/** Throws a system error; ESRCH when the process has ended, EINVAL when there is no such signal. */
export function signalPidFd(fd: number, signal: number): void {
  if (Number(syscall(SYS_pidfd_send_signal, fd, signal, 0, 0)) < 0) throw systemError("kill");
}

/** Kills, with SIGKILL, the process that has this pid and this start time, and no other. Fine when it has ended. */
export function killProcess(pid: number, startTime: string): void {
  let fd: number | undefined;
  try {
    fd = withReserve(() => openPidFd(pid));
    // The descriptor holds one process; if that has the start time, it is the one.
    if (startTimeOf(pid) === startTime) signalPidFd(fd, SIGKILL);
  } catch {
    // It has ended.
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** Kills a process with its whole group, if it leads one, with SIGKILL. The caller knows that the number still means what it meant. */
export function killProcessGroup(leader: number): void {
  if (kill(-leader, SIGKILL) !== 0) kill(leader, SIGKILL);
}

/**
 * Reaps a child that has ended; undefined while it runs. With `wait` it is waited for: only for a child that has been killed. A process
 * that is no child of ours (any more) throws ECHILD.
 */
export function reap(pid: number, { wait = false } = {}): ExitStatus | undefined {
  const status = [0];
  const result: number = waitpidCall(pid, status, wait ? 0 : WNOHANG);
  if (result < 0) throw systemError("waitpid");
  if (result === 0) return undefined;
  const signal = status[0]! & 0x7f;
  return signal === 0 ? (status[0]! >> 8) & 0xff : SIGNALLED + signal;
}
