import { setFrozen } from "../../system/cgroup/freeze.js";
import type { Task } from "./task.js";

/** In ms: how long the freezer is waited for before the runtime is asked. */
const FREEZER_TIMEOUT = 5_000;
/** In ms: how long the runtime may take to thaw what is to be killed. */
const THAW_TIMEOUT = 10_000;

/** Stops the processes of a task. @throws Failure in the runtime's words, also for one that is paused; the signal's reason */
export async function pause(task: Task, signal: AbortSignal): Promise<void> {
  if (!(await byFreezer(task, true, signal))) await task.runtime.pause(task.id, { signal });
}

/** Lets the processes of a paused task go on. @throws as {@link pause}, for one that is not paused */
export async function resume(task: Task, signal: AbortSignal): Promise<void> {
  if (!(await byFreezer(task, false, signal))) await task.runtime.resume(task.id, { signal });
}

/** A frozen process takes no signal, not even SIGKILL. Never rejects. */
export async function thaw(task: Task): Promise<void> {
  try {
    if (task.cgroup?.frozen()) await resume(task, AbortSignal.timeout(THAW_TIMEOUT));
  } catch {
    // The runtime's own delete may still manage it.
  }
}

/**
 * Does what runc and crun do, who keep no account of it but ask the freezer: without a process of theirs. Only in a cgroup that is the
 * task's alone, and only if it is not as wanted: whatever else there is to be said or done about a pause is the runtime's.
 * @returns whether it is done
 */
async function byFreezer(task: Task, wanted: boolean, signal: AbortSignal): Promise<boolean> {
  if (!task.runtime.pausesByFreezer) return false;
  try {
    const own = task.cgroup && task.ownCgroup.own();
    if (own === undefined || own.frozen() === wanted) return false;
    return await setFrozen(own, wanted, FREEZER_TIMEOUT, signal);
  } catch {
    return false;
  }
}
