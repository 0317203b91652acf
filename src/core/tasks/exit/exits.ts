import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { KILLED_STATUS, UNKNOWN_STATUS } from "../../../contract/shim/exit-status.js";
import { now } from "../../../system/linux/clock.js";
import { errorText } from "../../../system/linux/libc.js";
import type { Metrics } from "../../telemetry/metrics.js";
import type { Operation, Operations } from "../../telemetry/operations.js";
import { thaw } from "../freezer.js";
import { processEnd } from "../monitor.js";
import { INIT, type Process } from "../process.js";
import type { Reports } from "../reports.js";
import { findShims, killShim } from "../shims/shim-process.js";
import type { Task } from "../task.js";

/** In ms: how long an init's exit waits for its execs' shims before those are killed. */
const EXEC_EXIT_TIMEOUT = 10_000;
/**
 * In ms: how long the spawner may take to report the status of a shim that has exited. Without it the runtime is asked to delete the
 * container.
 */
const SHIM_END_TIMEOUT = 500;
/** In ms: how often a process without a pidfd is polled for its end. */
const END_INTERVAL = 20;

/** What an exit is told to, and counted by. */
export interface ExitsOptions {
  log: Logger;
  operations: Operations;
  metrics: Metrics;
  reports: Reports;
  /** Called in the same turn as an exit is told: whether the process, with its init the task, is deleted then is its front's policy. */
  ended: (task: Task, proc: Process) => void;
}

/** The exits of processes: each is followed from its start, and told once. */
export class Exits {
  readonly #log: Logger;
  readonly #operations: Operations;
  readonly #metrics: Metrics;
  readonly #reports: Reports;
  readonly #ended: (task: Task, proc: Process) => void;

  constructor({ log, operations, metrics, reports, ended }: ExitsOptions) {
    this.#log = log;
    this.#operations = operations;
    this.#metrics = metrics;
    this.#reports = reports;
    this.#ended = ended;
  }

  /**
   * Waits for the end of a process's shim, or until its {@link Process.giveUp} is called, then tells the exit. Never rejects: whatever
   * fails on the way, the exit is told, once.
   */
  async follow(task: Task, proc: Process, exited: Promise<void>): Promise<void> {
    try {
      await Promise.race([exited, proc.givenUp]);
      if (proc.id === INIT) await task.oom?.flush(proc);
    } catch (error) {
      this.#logFailure(task, proc, error, "containerd: watch for exit");
    }
    const began = performance.now();
    await this.#operations.run({ kind: "exit", id: task.id, pid: proc.id }, async (operation) => {
      const { status, isWritten } = await this.#endedWith(task, proc, operation);
      if (proc.id === INIT) await this.#endTask(task, operation);
      await proc.startTold;
      const told = performance.now();
      if (!(task.deleteOnExit || isWritten)) this.#record(task, proc, status);
      const exit = { status, at: task.deleteOnExit ? now() : proc.exitTime() };
      this.#reports.tellExit(task, proc, exit);
      proc.stop(exit);
      this.#ended(task, proc);
      if (proc.id === INIT) this.#metrics.containerDelete.since(told);
    });
    if (proc.id === INIT) task.oom?.end();
    this.#metrics.exitProcess.since(began);
  }

  /**
   * The status to be told of a process whose shim has ended, and whether it is written down as that. Nothing runs of it any more, and the
   * runtime has forgotten a task. Never rejects.
   */
  async #endedWith(task: Task, proc: Process, operation: Operation): Promise<{ status: number; isWritten: boolean }> {
    const { recorded, told } = this.#recordedStatus(task, proc);
    let status = recorded ?? told;
    try {
      if (status === undefined) {
        operation.doing = "ending the process of a dead shim";
        status = await this.#endOrphan(task, proc);
      } else if (proc.id === INIT && !(await cleanedUp(proc))) {
        operation.doing = "cleaning up for a dead shim";
        await task.container.deleteRest();
      }
    } catch (error) {
      this.#logFailure(task, proc, error, "containerd: process exit");
    }
    return { status: status ?? UNKNOWN_STATUS, isWritten: recorded !== undefined };
  }

  /**
   * What the shim has written down or, where it could not, told. Neither when it did not live to, or what is there can't be read.
   */
  #recordedStatus(task: Task, proc: Process): { recorded?: number | undefined; told?: number | undefined } {
    let isReadable = true;
    const recorded = proc.exitStatus((error) => {
      isReadable = false;
      const fields = { id: task.id, pid: proc.id, error: errorText(error) };
      this.#log.warn(fields, "containerd: the exit status can't be read");
    });
    return recorded === undefined && isReadable ? { told: proc.toldExitStatus() } : { recorded };
  }

  /** Whoever asks later is told the same as those who ask now, also by the next daemon: where its shim could not write it down, we do. */
  #record(task: Task, proc: Process, status: number): void {
    if (proc.exitStatus() === status) return;
    try {
      proc.recordExitStatus(status);
    } catch (error) {
      this.#logFailure(task, proc, error, "containerd: record exit status");
    }
  }

  /** Kills a process whose shim has died: an orphan, whose exit nobody could collect. */
  async #endOrphan(task: Task, proc: Process): Promise<number> {
    this.#log.warn({ id: task.id, pid: proc.id }, "containerd: shim died; killing its process");
    const alive = proc.alive();
    if (alive) {
      await thaw(task);
      const ended = processEnd(proc.systemPid, proc.startTime);
      if (proc.id === INIT) task.killed = true;
      ended.catch(() => {});
      proc.kill();
      // No pidfd could be opened for it: its end is polled for.
      await ended.catch(async () => {
        while (proc.alive()) await delay(END_INTERVAL);
      });
    }
    // An exec may be gone already because its init was killed here.
    const status = alive || task.killed ? KILLED_STATUS : UNKNOWN_STATUS;
    this.#record(task, proc, status);
    if (proc.id === INIT) await task.container.delete();
    return status;
  }

  /** When the exit of a task's init is told, none of its processes may be left, and the exits of its execs have been told. */
  async #endTask(task: Task, operation: Operation): Promise<void> {
    task.markExited();
    operation.doing = "ending what is left in its cgroup";
    if (!(await task.container.endProcesses())) {
      this.#log.warn({ id: task.id }, "containerd: processes of the container do not end");
    }
    operation.doing = "waiting for the exits of its execs";
    await this.#execExits(task);
    operation.doing = "removing the container";
  }

  async #execExits(task: Task): Promise<void> {
    const execs = () => task.running.filter((proc) => proc.id !== INIT);
    if (execs().length === 0) return;
    const timer = setTimeout(() => {
      for (const exec of execs()) {
        const fields = { id: task.id, pid: exec.id };
        this.#log.warn(fields, "containerd: exec's shim outlives its container; killing it");
        abandonOutput(task, exec);
      }
    }, EXEC_EXIT_TIMEOUT);
    // One that was being started may come to the others.
    while (execs().length > 0) await Promise.all(execs().map((exec) => exec.done));
    clearTimeout(timer);
  }

  #logFailure({ id }: Task, { id: pid }: Process, error: unknown, what: string): void {
    this.#log.error({ id, pid, error: errorText(error) }, what);
  }
}

/**
 * Whether the shim has exited with 0, that is, after it has had the runtime delete the container. False when the shim's status is unknown:
 * it was launched by an earlier daemon, or the spawner, its parent, does not report it in time.
 */
async function cleanedUp(proc: Process): Promise<boolean> {
  const { shim } = proc;
  if (shim === undefined) return false;
  const timer = new AbortController();
  const late = delay(SHIM_END_TIMEOUT, undefined, { signal: timer.signal }).catch(() => undefined);
  const status = await Promise.race([shim.child.exited, late]);
  timer.abort();
  return status === 0;
}

/**
 * Has an exec be over whose shim waits for what others still hold of its output. Where its own process has not ended, that is killed.
 */
export function abandonOutput(task: Task, exec: Process): void {
  endShim(task, exec);
  exec.giveUp();
}

/** Kills the shim, also one that an earlier daemon has launched. */
function endShim(task: Task, proc: Process): void {
  if (proc.shim !== undefined) proc.shim.child.kill();
  else for (const shim of findShims(proc.directory, task.id, task.shim.name)) killShim(shim);
}
