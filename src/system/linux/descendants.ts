import { closeSync, readdirSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { hasCode } from "./libc.js";
import { openPidFd, signalPidFd } from "./pidfd.js";
import { parentOf, stateOf } from "./proc-stat.js";

const SIGKILL = 9;
/** In ms: how often killed processes are polled for their end. */
const INTERVAL = 5;
/** In ms: a frozen process dies only when it is thawed, which may be later. */
const TIMEOUT = 1_000;

/**
 * Kills all descendants of a process, whatever session they have moved to, and stops the process itself (SIGSTOP), so that it starts no
 * others. It is not killed here: it is a subreaper, and must live until the last of its orphaned descendants is gone. The caller, who knows
 * that the pid has not been reused, kills it afterwards.
 */
export async function killDescendants(ancestor: number): Promise<void> {
  try {
    process.kill(ancestor, "SIGSTOP");
  } catch (error) {
    if (hasCode(error, "ESRCH")) return;
    throw error;
  }
  const deadline = performance.now() + TIMEOUT;
  while (performance.now() < deadline) {
    const found = descendantsOf(ancestor);
    if (found.length === 0) return;
    for (const { pid, parent } of found) killIf(pid, () => parentOf(pid) === parent);
    await delay(INTERVAL);
  }
}

interface Descendant {
  pid: number;
  parent: number;
}

/** Those that run, the parents first; zombies are not counted. */
function descendantsOf(ancestor: number): Descendant[] {
  const found: Descendant[] = [];
  for (const pid of childrenOf(ancestor)) {
    const state = stateOf(pid);
    if (state === undefined || state === "Z" || state === "X") continue;
    found.push({ pid, parent: ancestor }, ...descendantsOf(pid));
  }
  return found;
}

/** Of any of its threads. Empty when it has ended. */
export function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, "latin1").split(" ").filter(Boolean).map(Number),
    );
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "ESRCH")) return [];
    throw error;
  }
}

/** Kills a process if `isExpected` says so while a pidfd is open: then the pid can't have been reused. */
export function killIf(pid: number, isExpected: () => boolean): void {
  try {
    const fd = openPidFd(pid);
    try {
      if (isExpected()) signalPidFd(fd, SIGKILL);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (!hasCode(error, "ESRCH")) throw error;
  }
}

/** The pids of a process's parent, its parent, and so on. */
export function ancestorsOf(pid: number): number[] {
  const ancestors: number[] = [];
  for (let parent = parentOf(pid) ?? 0; parent > 0; parent = parentOf(parent) ?? 0) ancestors.push(parent);
  return ancestors;
}
