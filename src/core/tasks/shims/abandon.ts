/** What is done about a start or an exec that has failed: whatever it has left running is ended before the caller is told. */
import { setTimeout as delay } from "node:timers/promises";
import { type ExitStatus, SIGNALLED } from "../../../contract/shim/exit-status.js";
import { ancestorsOf, killDescendants, killIf } from "../../../system/linux/descendants.js";
import { type ProcStat, readProcStat } from "../../../system/linux/proc-stat.js";
import { withReserve } from "../../../system/linux/reserved-descriptors.js";
import { Failure } from "../../failure/failure.js";
import type { Process } from "../process.js";
import { readPidFile } from "../state-directory/pid-file.js";
import type { Task } from "../task.js";
import { hasBegun, type Shim } from "./shim.js";

/** In ms: the grace period of our own shim for its clean-up, after its start was called off. */
const CLEAN_UP_GRACE = 10_000;
/** In ms: how often an exec that was called off is looked at while its runtime call ends, and orphans while they die. */
const INTERVAL = 20;
/** In ms: orphans of a frozen container die only when it is thawed, which may be later. */
const ORPHANS_TIMEOUT = 1_000;
/** In ms: the grace period of a shim that has closed the start channel: it is exiting, or has not seen the cancellation and never will. */
const HANG_UP_GRACE = 200;

/**
 * In ms: the grace period of our own shim: a runtime call that is killed halfway leaves cgroups and mounts that nothing refers to. A start
 * that took too long hangs, so its shim gets none.
 */
function graceAfter(error: unknown): number {
  return error instanceof Failure && error.kind === "deadline-exceeded" ? 0 : CLEAN_UP_GRACE;
}

/**
 * Ends what a failed create or start has left: the shim, and the container in the runtime.
 * @param error why it has failed
 */
export async function abandonInit(task: Task, init: Process, error: unknown): Promise<void> {
  const { shim } = init;
  if (shim !== undefined) {
    const { killed, status } = await callOff(task, shim, error);
    shim.release();
    // A shim that exited by itself before there was a process has cleaned up; one that was killed has not.
    const isLeft = readPidFile(init.directory) !== undefined || task.ownCgroup.isLeft();
    if (killed || status > SIGNALLED || isLeft) await task.container.delete();
  } else if (hasBegun(init.directory)) {
    // A shim was forked, but the spawner died before it reported the pid.
    await task.container.delete();
  }
  task.processes.delete(init.id);
  init.close();
}

/**
 * Ends a task that was created, and whose start has failed: its exit is told.
 * @param error why it has failed
 */
export async function endInit(task: Task, init: Process, error: unknown): Promise<void> {
  task.killed = true;
  if (init.shim === undefined) init.kill();
  else await callOff(task, init.shim, error);
  await init.done;
}

/** Has the shim of an init whose start has failed clean up and end, or ends it. */
async function callOff(task: Task, shim: Shim, error: unknown): Promise<{ killed: boolean; status: ExitStatus }> {
  const grace = graceAfter(error);
  shim.cancel();
  if (shim.child.running && task.shim.spawner !== undefined) {
    // If the process was started at this very moment, the shim has closed the channel, goes on with the container and never reads the
    // cancellation.
    const missed = shim.channelClosed.then(() => delay(Math.min(grace, HANG_UP_GRACE)));
    await Promise.race([shim.child.exited, missed, delay(grace)]);
  }
  const killed = shim.child.running;
  return { killed, status: await endShim(shim) };
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
 * Kills the orphans of an exec whose shim has died, and waits for their end: unknown processes in the container's cgroup, of whom neither a
 * shim nor another process of the container is the parent.
 * @param since as {@link ticksSinceBoot}: older processes are not the exec's
 */
export async function killOrphans(task: Task, since: number): Promise<void> {
  const deadline = performance.now() + ORPHANS_TIMEOUT;
  while (withReserve(() => killOrphansOnce(task, since)) && performance.now() < deadline) await delay(INTERVAL);
}

/** @returns whether there was one */
function killOrphansOnce(task: Task, since: number): boolean {
  const reapers = new Set([1, ...ancestorsOf(process.pid)]);
  const known = new Set(task.running.map(({ systemPid }) => systemPid));
  const pids = new Set(task.ownCgroup.own()?.pids() ?? []);
  const isNew = (stat: ProcStat | undefined): stat is ProcStat => Number(stat?.startTime) >= since;
  const isOrphan = (stat: ProcStat | undefined): boolean => isNew(stat) && reapers.has(stat.parent);
  let isThere = false;
  for (const pid of pids) {
    if (known.has(pid)) continue;
    killIf(pid, () => {
      const stat = readProcStat(pid);
      if (!isNew(stat)) return false;
      // The call of the runtime dies with its shim, but not at once: until then it is the parent.
      const isItsOrphan = isOrphan(stat) || (!pids.has(stat.parent) && isOrphan(readProcStat(stat.parent)));
      if (isItsOrphan) isThere = true;
      return isItsOrphan;
    });
  }
  return isThere;
}

/** Kills an exec whose pid has not been reported; the pid file may have it. */
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
