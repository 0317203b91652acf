import { KILLED_STATUS, UNKNOWN_STATUS } from "../../../contract/shim/exit-status.js";
import { bootTime, now } from "../../../system/linux/clock.js";
import { readUsage } from "../../tasks/state-directory/usage.js";
import type { Task } from "../../tasks/task.js";
import type { ContainerExit } from "../kept-container.js";

/** How the task of a container has ended: the same whichever daemon asks. */
export function exitOf(task: Task): ContainerExit {
  const init = task.init!;
  const { status, at } = init.exit ?? { status: UNKNOWN_STATUS, at: now() };
  const { memoryPeak, oomKills = 0n, cpuTime } = readUsage(init.directory);
  return {
    status,
    at,
    oomKilled: oomKills > 0n,
    timedOut: status === KILLED_STATUS && task.endsAt !== undefined && isPast(at, task.endsAt),
    ...(cpuTime !== undefined && { cpuTime }),
    ...(memoryPeak !== undefined && { memoryPeak }),
    error: "",
  };
}

/** In ms: files' times come from a clock that the kernel sets forward now and then only. */
const TOLERANCE = 50;

/**
 * Whether something has happened when a time was over.
 * @param at in ns since the epoch
 * @param endsAt in ms since the machine has booted
 */
export function isPast(at: bigint, endsAt: number): boolean {
  return bootTime() - Number(now() - at) / 1e6 + TOLERANCE >= endsAt;
}
