import type { Event } from "../events/event.js";

/** Nothing but that it has happened. */
type Nothing = Record<string, never>;

interface Payloads {
  /** A task's init runs. */
  "/tasks/start": { run?: string };
  "/tasks/exec-started": { process: string; run?: string };
  "/tasks/exit": {
    /** Name of the process: the task's init, or an exec. */
    process: string;
    /** The exit code, or 128 + N for death by signal N. */
    status: number;
    run?: string;
    /** Of an init, where it is known: the most memory in bytes that the task had. */
    memoryPeak?: bigint;
  };
  /** The kernel has killed a process of the task for want of memory. */
  "/tasks/oom": Nothing;
  "/tasks/paused": Nothing;
  "/tasks/resumed": Nothing;
}

export type TaskTopic = keyof Payloads;

/** What happens to a task. `run` is {@link Process.run}, which the log keeps and nobody is sent. */
export type TaskEvent = { [Topic in TaskTopic]: Event<Topic, Payloads[Topic]> }[TaskTopic];
