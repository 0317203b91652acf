/** What is done about a start or an exec that has failed: whatever it has left running is ended before the caller is told. */
import { setTimeout as delay } from "node:timers/promises";
import { type ExitStatus, SIGNALLED } from "../../../contract/shim/exit-status.js";
import { ancestorsOf, killDescendants, killIf } from "../../../system/linux/descendants.js";
import { readProcStat } from "../../../system/linux/proc-stat.js";
import { Failure } from "../../failure/failure.js";
import type { Process } from "../process.js";
import { readPidFile } from "../state-directory/pid-file.js";
import type { Task } from "../task.js";
import { hasBegun, type Shim } from "./shim.js";

/** In ms: how long our own shim gets to clean up after a start that somebody called off. */
const CLEAN_UP_GRACE = 10_000;
/** In ms: how often an exec that was called off is looked at while its runtime call ends. */
const INTERVAL = 20;
/** In ms: a shim that has closed its end of the start channel is about to end, or else it never will. */
const HANG_UP_GRACE = 200;

/**
 * In ms: how long our own shim gets to end what it is at and clean up by itself: a runtime that is killed in the middle leaves cgroups and
 * mounts that nobody knows of. A start that took too long hangs, so its shim gets no more time.
 */
function graceAfter(error: unknown): number {
  return error instanceof Failure && error.kind === "deadline-exceeded" ? 0 : CLEAN_UP_GRACE;
}

/**
 * Ends what a failed create or start has left: the shim, and the container in the runtime.
 * @param error why it has failed
 */
export async function abandonInit(task: Task, init: Process, error: unknown): Promise<void> {
  const grace = graceAfter(error);
  const { shim } = init;
  if (shim !== undefined) {
    shim.cancel();
    if (shim.child.running && task.shim.spawner !== undefined) {
      // One that was ready at the same moment goes on with the container and never hears of it.
      const missed = shim.channelClosed.then(() => delay(Math.min(grace, HANG_UP_GRACE)));
      await Promise.race([shim.child.exited, missed, delay(grace)]);
    }
    const killed = shim.child.running;
    const status = await endShim(shim);
    shim.release();
    // One that ended by itself before there was a process has left nothing; one that somebody killed could not see to that.
    const isLeft = readPidFile(init.directory) !== undefined || task.ownCgroup.isLeft();
    if (killed || status > SIGNALLED || isLeft) await task.container.delete();
  } else if (hasBegun(init.directory)) {
    // A forked one whose spawner died before it told the pid.
    await task.container.delete();
  }
  task.processes.delete(init.id);
  init.close();
}

/**
 * Ends what a failed exec has left: its shim, and its process if the runtime got that far.
 * @param error why it has failed
 */
export async function abandonExec(exec: Process, error: unknown): Promise<void> {
  const { shim } = exec;
  if (shim === undefined) {
    killUntold(exec);
    return;
  }
  shim.cancel();
  const deadline = performance.now() + graceAfter(error);
  for (;;) {
    killUntold(exec);
    if (!shim.child.running || performance.now() > deadline) break;
    await Promise.race([shim.child.exited, delay(INTERVAL)]);
  }
  await endShim(shim);
}

/**
 * Kills what an exec has left whose shim has died: nobody's child, and none of the processes that are known.
 * @param since as {@link ticksSinceBoot}: what is older is not the exec's
 */
export function killOrphans(task: Task, since: number): void {
  const reapers = new Set([1, ...ancestorsOf(process.pid)]);
  const known = new Set(task.running.map(({ systemPid }) => systemPid));
  for (const pid of task.ownCgroup.own()?.pids() ?? []) {
    if (known.has(pid)) continue;
    killIf(pid, () => {
      const stat = readProcStat(pid);
      return stat !== undefined && reapers.has(stat.parent) && Number(stat.startTime) >= since;
    });
  }
}

/** Kills an exec of which there may be a pid file only. */
function killUntold(exec: Process): void {
  const pid = readPidFile(exec.directory);
  if (pid !== undefined && exec.systemPid === 0) exec.identify(pid);
  exec.kill();
}

/** Kills a shim that has not ended, and first what it has started: a runtime's child may be in a session of its own. */
async function endShim({ child }: Shim): Promise<ExitStatus> {
  if (child.running) await killDescendants(child.pid);
  child.kill();
  return await child.exited;
}
