import { closeSync, readdirSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { hasCode } from "./libc.js";
import { openPidFd, signalPidFd } from "./pidfd.js";
import { parentOf, stateOf } from "./proc-stat.js";

const SIGKILL = 9;
/** In ms: how often what has been killed is looked at. */
const INTERVAL = 5;
/** In ms: what is frozen dies only when it thaws, but it dies. */
const TIMEOUT = 1_000;

/**
 * Kills all that a process has started, and what that has started, whatever session it has gone into; not the process itself, which has to
 * be there until all of it has gone: as a subreaper it gets the children of those that end first. It is stopped, so that it starts nothing
 * more: the caller, who knows that the number still means what it meant, kills it afterwards.
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
function childrenOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, "latin1").split(" ").filter(Boolean).map(Number),
    );
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "ESRCH")) return [];
    throw error;
  }
}

/**
 * Kills a process if it is what it is expected to be, when a descriptor holds it: then the number has not become anybody else's.
 */
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
