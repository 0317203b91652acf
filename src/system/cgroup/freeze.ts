import { setTimeout as delay, setImmediate as nextTurn } from "node:timers/promises";
import type { Cgroup } from "./cgroup.js";

/** How often the freezer is asked without a pause: most processes stop as soon as they get to run. */
const EAGER_TURNS = 5;
/** In ms: how often it is asked later. */
const INTERVAL = 1;

/**
 * Has the freezer stop every process of a cgroup, or let them go on, and waits until that is so. Other work of this process goes on
 * meanwhile.
 * @param timeout in ms: a process that the kernel holds (a hanging disk) can't be frozen
 * @param signal ends the attempt
 * @returns whether it is so; false at once where there is no freezer. A cgroup that could not be frozen is thawed then.
 * @throws a system error that the kernel has for a write
 */
export async function setFrozen(
  cgroup: Cgroup,
  wanted: boolean,
  timeout: number,
  signal: AbortSignal,
): Promise<boolean> {
  const deadline = performance.now() + timeout;
  for (let turn = 0; ; turn++) {
    // Asked anew each time: v1's freezer may miss a process that is just being made.
    const isDone = cgroup.setFrozen(wanted);
    if (isDone !== false) return isDone === true;
    if (signal.aborted || performance.now() > deadline) break;
    await (turn < EAGER_TURNS ? nextTurn() : delay(INTERVAL));
  }
  if (wanted) cgroup.setFrozen(false);
  return false;
}
