import type { Mount } from "../../system/mount/mount.js";
import type { Event } from "../events/event.js";
import type { Stdio } from "./process.js";

/** Nothing but that it has happened. */
type Nothing = Record<string, never>;

interface Payloads {
  /** A task is there, its init waits to be started. */
  "/tasks/create": {
    bundle: string;
    rootfs: readonly Mount[];
    stdio: Stdio;
    terminal: boolean;
    /** The checkpoint that it was restored from; "": none. */
    checkpoint: string;
    pid: number;
    run?: string;
  };
  /** A task's init runs. */
  "/tasks/start": { pid: number; run?: string };
  /** There is an exec, which does not run yet. */
  "/tasks/exec-added": { process: string };
  "/tasks/exec-started": { process: string; pid: number; run?: string };
  "/tasks/exit": {
    /** Name of the process: the task's init, or an exec. */
    process: string;
    pid: number;
    /** The exit code, or 128 + N for death by signal N. */
    status: number;
    /** Nanoseconds since the epoch. */
    exitedAt: bigint;
    run?: string;
    /** Of an init, where it is known: the most memory in bytes that the task had. */
    memoryPeak?: bigint;
  };
  /** A task is gone. */
  "/tasks/delete": { process: string; pid: number; status: number; exitedAt: bigint; run?: string };
  /** The kernel has killed a process of the task for want of memory. */
  "/tasks/oom": Nothing;
  "/tasks/paused": Nothing;
  "/tasks/resumed": Nothing;
  "/tasks/checkpointed": { path: string };
}

export type TaskTopic = keyof Payloads;

/**
 * What happens to a task. `run` is {@link Process.run}, which the log keeps and nobody is sent; `pid` is the host's, 0 where a line of the
 * log does not say it.
 */
export type TaskEvent = { [Topic in TaskTopic]: Event<Topic, Payloads[Topic]> }[TaskTopic];
