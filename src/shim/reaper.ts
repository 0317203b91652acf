/** Reaps every child, always: the runtime's calls, the container's process, and the orphans that come to us. */
import { UNKNOWN_STATUS } from "../contract/shim/exit-status";
import { close, runFor, watch } from "./loop";
import * as files from "./syscalls/files";
import { errorText } from "./syscalls/libc";
import * as processes from "./syscalls/processes";
import * as waiting from "./syscalls/waiting";

/** A process whose end is waited for. */
export interface Child {
  readonly pid: number;
  /** Exit code, or 128 and the signal's number; undefined while it runs. */
  status: number | undefined;
  /** Not ended with what else is left of a container or a call. */
  readonly isSpared: boolean;
  /** Called when it is dead but not reaped yet: /proc/<pid> still tells about it. */
  atDeath?: (() => void) | undefined;
}

const children = new LuaTable<number, Child>();
/** The process that we are there for; 0 before it is known. */
let main = 0;
// Until the pid of the container's process is known, its death looks like that of any orphan.
let orphans: LuaTable<number, number> | undefined = new LuaTable();

/** Starts reaping. */
export function startReaper(): void {
  const fd = processes.childSignals();
  if (fd < 0) error(`signalfd: ${errorText(fd)}`, 0);
  watch(fd, waiting.EPOLLIN, () => {
    processes.takeChildSignal(fd);
    reapAll();
  });
}

function reapAll(): void {
  while (true) {
    const pid = processes.nextDead();
    if (pid === 0) return;
    const child = children.get(pid);
    child?.atDeath?.();
    const status = processes.reap(pid);
    if (child !== undefined) {
      child.status = status;
      children.delete(pid);
    } else {
      orphans?.set(pid, status);
    }
  }
}

/** A process that was just forked; it cannot have been reaped yet. */
export function expect(pid: number, isSpared = false): Child {
  const child: Child = { pid, status: undefined, isSpared };
  children.set(pid, child);
  return child;
}

/**
 * The process that the runtime left to us, which may have ended before we learned its pid. From here on the ends of
 * orphans are not kept any more.
 */
export function adopt(pid: number): Child {
  const child = expect(pid);
  child.status = orphans?.get(pid);
  orphans = undefined;
  main = pid;
  if (child.status === undefined && !processes.isChild(pid)) watchForeign(child);
  if (child.status !== undefined) children.delete(pid);
  return child;
}

/** A runtime may leave its process to somebody else. Its end can be seen, but not its status. */
function watchForeign(child: Child): void {
  const pidfd = processes.openPidfd(child.pid);
  if (pidfd < 0) {
    child.status = UNKNOWN_STATUS;
    return;
  }
  watch(pidfd, waiting.EPOLLIN, () => {
    close(pidfd);
    child.status = UNKNOWN_STATUS;
  });
}

/** How long those may take to end that were killed, in ms. */
const KILL_TIMEOUT = 1_000;

/**
 * Kills every child that is left but the spared, and the orphans that become our children when it ends: only when a failed start is
 * undone, and none of them was announced, or at the end of a container.
 */
export function killChildren(): void {
  const deadline = waiting.now() + KILL_TIMEOUT;
  while (killAllBut(0) && waiting.now() < deadline) runFor(5);
}

/** Kills every child but the process that we are there for, and the spared; whether there was one. */
export function killStrays(): boolean {
  return killAllBut(main);
}

function killAllBut(spared: number): boolean {
  const list = files.readFile(`/proc/self/task/${processes.getpid()}/children`);
  if (typeof list === "number") return false;
  let found = false;
  for (const [word] of string.gmatch(list, "%d+")) {
    const pid = tonumber(word)!;
    if (pid === spared || children.get(pid)?.isSpared) continue;
    processes.kill(pid, processes.SIGKILL);
    found = true;
  }
  return found;
}
