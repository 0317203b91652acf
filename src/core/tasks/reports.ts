import { join } from "node:path";
import type { Logger } from "pino";
import { KILLED_STATUS, UNKNOWN_STATUS } from "../../contract/shim/exit-status.js";
import { now } from "../../system/linux/clock.js";
import { processAge } from "../../system/linux/process-age.js";
import type { Events } from "../events/events.js";
import { History, type TaskName } from "./history.js";
import { type Exit, hasMark, INIT, Process } from "./process.js";
import { readUsage } from "./state-directory/usage.js";
import type { Task } from "./task.js";
import type { TaskEvent } from "./task-event.js";

/** What is told of tasks, in the log and as events: each start and each exit once, whichever daemon it falls to. */
export class Reports {
  readonly #log: Logger;
  readonly #events: Events<TaskEvent>;

  constructor(log: Logger, events: Events<TaskEvent>) {
    this.#log = log;
    this.#events = events;
  }

  /** What was told of a task until now. */
  history({ namespace }: TaskName): History {
    return new History(this.#events.logOf(namespace));
  }

  /** When the newest event of a task's log was stored: all that follow are later. */
  last({ namespace }: TaskName): bigint {
    return this.#events.logOf(namespace).last;
  }

  /** Calls back once all that was told of a task until now is in the event log's file: at once, unless that can't be written. */
  whenStored({ namespace }: TaskName, then: () => void): void {
    this.#events.logOf(namespace).whenStored(then);
  }

  /** A task is there, which nobody was told of. */
  tellCreate(task: Task, init: Process): void {
    const { namespace, id: object, bundle, rootfs } = task;
    const { run, stdio, systemPid: pid, state } = init;
    const { terminal = false, checkpoint } = state;
    const payload = { bundle, rootfs, stdio, terminal, checkpoint, pid, run };
    this.#events.publish({ topic: "/tasks/create", namespace, object, payload });
  }

  /** As {@link tellCreate}, unless an earlier daemon has lived long enough to tell it. */
  tellCreateOnce(task: Task, init: Process): void {
    // It is told right after the mark is made: a log that no longer reaches back so far has told it.
    if (this.history(task).hasCreate(task, init.run) === false) this.tellCreate(task, init);
  }

  tellExecAdded({ namespace, id: object }: Task, { id, isSilent }: Process): void {
    if (isSilent) return;
    this.#events.publish({ topic: "/tasks/exec-added", namespace, object, payload: { process: id } });
  }

  /** As {@link tellExecAdded}, unless an earlier daemon has lived long enough to tell it. */
  tellExecAddedOnce(task: Task, exec: Process): void {
    if (this.history(task).hasExecAdded(task, exec.id) === false) this.tellExecAdded(task, exec);
  }

  /** A task that has ended is gone. */
  tellDelete({ namespace, id: object }: Task, { id, systemPid: pid, run }: Process, exit: Exit): void {
    const payload = { process: id, pid, status: exit.status, exitedAt: exit.at, run };
    this.#events.publish({ topic: "/tasks/delete", namespace, object, payload });
  }

  /** A process runs. */
  tellStart(task: Task, proc: Process): void {
    const { namespace, id: object } = task;
    const { id, run, systemPid: pid } = proc;
    if (proc.isSilent) {
      proc.markAnnounced();
      return;
    }
    if (id === INIT) this.#events.publish({ topic: "/tasks/start", namespace, object, payload: { pid, run } });
    else this.#events.publish({ topic: "/tasks/exec-started", namespace, object, payload: { process: id, pid, run } });
    this.whenStored(task, () => proc.markAnnounced());
  }

  /** A process runs whose start an earlier daemon has told, if it has lived long enough. */
  tellStartOnce(task: Task, proc: Process): void {
    if (proc.announced) return;
    if (!proc.isSilent && this.wasStartTold(task, proc.id, proc.run)) this.whenStored(task, () => proc.markAnnounced());
    else this.tellStart(task, proc);
  }

  /** Whether the start of a process that has no mark of it was told. */
  wasStartTold(task: Task, name: string, run: string): boolean {
    // Our daemons make the mark right after the event, so without a mark the event, if there is one, is still in the log. Other daemons
    // make no mark.
    return this.history(task).hasStart(task, name, run) ?? !task.remembersCgroup;
  }

  /** A process has ended. Nothing is told of an exit that an earlier daemon has told. */
  tellExit(task: Task, proc: Process, exit: Exit): void {
    const isOurOwn = proc.shim !== undefined;
    if (!proc.isSilent && (isOurOwn || !this.wasExitTold(task, proc))) {
      const { id, run, directory } = proc;
      const { memoryPeak } = id === INIT ? readUsage(directory) : {};
      const peak = memoryPeak === undefined ? {} : { memoryPeak };
      this.#publishExit(task, { ...exitPayload(id, proc.systemPid, exit), run, ...peak });
    }
    const what = proc.id === INIT ? "container exited" : "process exited";
    this.#log[proc.isSilent ? "debug" : "info"](exitFields(task, proc, exit.status), `containerd: ${what}`);
  }

  /**
   * Whether an earlier daemon has told the exit of a process: it was killed right then, could not remove the directory, or keeps it until
   * somebody deletes the process.
   */
  wasExitTold(task: Task, proc: Process): boolean {
    if (proc.reported) return true;
    return this.history(task).hasExit(task, proc.id, proc.run, proc.exitStatusWrittenAt());
  }

  /**
   * The processes of a task whose start was told and whose exit was not: by the event log or, where that is lost, by the files "started"
   * and "reported" in their directories. The init comes last.
   */
  owedExits(task: Task): string[] {
    const running = this.history(task).running(task);
    for (const name of task.processDirectories()) {
      const directory = join(task.directory, name);
      if (running.has(name)) continue;
      const isOwed = hasMark(directory, "started") && !hasMark(directory, "reported");
      running.set(name, isOwed && !Process.readState(directory).silent);
    }
    const owed = [...running.keys()].filter((name) => running.get(name));
    return [...owed.filter((name) => name !== INIT), ...owed.filter((name) => name === INIT)];
  }

  /**
   * Tells the exit of a process that can't be watched: with the status that its shim has recorded, else as killed or as unknown. Does
   * nothing when the start was never told, or the exit was already.
   */
  tellLostExit(task: Task, name: string, killed: boolean): void {
    if (!this.owedExits(task).includes(name)) return;
    const recorded = Process.readExitStatus(join(task.directory, name));
    const status = recorded ?? (killed ? KILLED_STATUS : UNKNOWN_STATUS);
    this.#log.warn({ id: task.id, pid: name, status }, "containerd: process was lost; its exit is told");
    this.#publishExit(task, exitPayload(name, 0, { status, at: now() }));
  }

  #publishExit({ namespace, id: object }: Task, payload: ExitPayload): void {
    this.#events.publish({ topic: "/tasks/exit", namespace, object, payload });
  }

  /** What else happens to a task. */
  tell({ namespace, id: object }: Task, topic: "/tasks/oom" | "/tasks/paused" | "/tasks/resumed"): void {
    this.#events.publish({ topic, namespace, object, payload: {} });
  }

  /** A task was saved. containerd 0.2 has no event for it. */
  tellCheckpoint({ namespace, id: object }: Task, path: string): void {
    if (namespace !== "") this.#events.publish({ topic: "/tasks/checkpointed", namespace, object, payload: { path } });
  }
}

const exitPayload = (process: string, pid: number, { status, at: exitedAt }: Exit) => ({
  process,
  pid,
  status,
  exitedAt,
});

type ExitPayload = Extract<TaskEvent, { topic: "/tasks/exit" }>["payload"];

/** `duration`: how long the process has run, in ms; one of ours without a start time was gone before it could be looked at. */
function exitFields({ id }: Task, { id: pid, systemPid, startTime, shim }: Process, status: number) {
  const duration = processAge(startTime) ?? (shim === undefined ? undefined : 0);
  return { id, pid, systemPid, status, duration };
}
