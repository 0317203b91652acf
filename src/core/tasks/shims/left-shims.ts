/** The shims that an earlier daemon has left in a process directory. */
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { killDescendants } from "../../../system/linux/descendants.js";
import { isAlive } from "../../../system/linux/proc-stat.js";
import type { Task } from "../task.js";
import { findShims, killShim } from "./shim-process.js";

/** In ms: how often the shims of an earlier daemon are polled. */
export const WATCH_INTERVAL = 20;
/** In ms: how long a shim may take to clean up after the death of its daemon, or to be gone after it was killed. */
export const SHIM_TIMEOUT = 2_000;

export function shimsOf(task: Task, name: string) {
  return findShims(join(task.directory, name), task.id, task.shim.name);
}

/** Waits until no shim works in a process directory any more; false when some still do after {@link SHIM_TIMEOUT}. */
export async function shimsGone(task: Task, name: string): Promise<boolean> {
  const deadline = performance.now() + SHIM_TIMEOUT;
  while (shimsOf(task, name).length > 0) {
    if (performance.now() > deadline) return false;
    await delay(WATCH_INTERVAL);
  }
  return true;
}

/** Kills the shims that work in a process directory, with their processes; false when there were none. */
export async function endShims(task: Task, name: string): Promise<boolean> {
  const shims = shimsOf(task, name);
  for (const shim of shims) {
    if (isAlive(shim.pid, shim.startTime)) await killDescendants(shim.pid);
    killShim(shim);
  }
  await shimsGone(task, name);
  return shims.length > 0;
}
