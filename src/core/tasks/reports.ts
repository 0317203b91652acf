import { statSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "pino";
import { KILLED_STATUS, UNKNOWN_STATUS } from "../../contract/shim/exit-status.js";
import { EXIT_STATUS_FILE } from "../../contract/shim/process-directory.js";
import { processAge } from "../../system/linux/process-age.js";
import type { Events } from "../events/events.js";
import { History } from "./history.js";
import { hasMark, INIT, Process } from "./process.js";
import { readUsage } from "./state-directory/usage.js";
import type { Task } from "./task.js";
import type { TaskEvent } from "./task-event.js";

/** What is told of tasks, in the log and as events: each start and each exit once, whichever daemon it falls to. */
export class Reports {
  readonly #log: Logger;
  readonly #events: Events<TaskEvent>;
  readonly history: History;

  constructor(log: Logger, events: Events<TaskEvent>) {
    this.#log = log;
    this.#events = events;
    this.history = new History(events.log);
  }

  /** When the newest event was stored: all that follow are later. */
  get last(): bigint {
    return this.#events.log.last;
  }

  /** Calls back once all that was told until now is in the event log's file: at once, unless that can't be written. */
  whenStored(then: () => void): void {
    this.#events.log.whenStored(then);
  }

  /** A process runs. */
  tellStart({ namespace, id: object }: Task, proc: Process): void {
    const { id, run } = proc;
    if (id === INIT) this.#events.publish({ topic: "/tasks/start", namespace, object, payload: { run } });
    else this.#events.publish({ topic: "/tasks/exec-started", namespace, object, payload: { process: id, run } });
    this.whenStored(() => proc.markAnnounced());
  }

  /** A process runs whose start an earlier daemon has told, if it has lived long enough. */
  tellStartOnce(task: Task, proc: Process): void {
    if (proc.announced) return;
    if (this.wasStartTold(task, proc.id, proc.run)) this.whenStored(() => proc.markAnnounced());
    else this.tellStart(task, proc);
  }

  /** Whether the start of a process that has no mark of it was told. */
  wasStartTold(task: Task, name: string, run: string): boolean {
    // Our daemons make the mark right after the event, so without a mark the event, if there is one, is still in the log. Other daemons
    // make no mark.
    return this.history.hasStart(task, name, run) ?? !task.remembersCgroup;
  }

  /** A process has ended. Nothing is told of an exit that an earlier daemon has told. */
  tellExit(task: Task, proc: Process, status: number): void {
    const what = proc.id === INIT ? "container exited" : "process exited";
    this.#log.info(exitFields(task, proc, status), `containerd: ${what}`);
    if (this.#wasExitTold(task, proc)) return;
    const { id, run, directory } = proc;
    const { memoryPeak } = readUsage(directory);
    this.#publishExit(task, { process: id, status, run, ...(memoryPeak === undefined ? {} : { memoryPeak }) });
  }

  /**
   * True when an earlier daemon was killed between writing an exit down and removing the directory, or could not remove it.
   */
  #wasExitTold(task: Task, proc: Process): boolean {
    const isOurOwn = proc.shim !== undefined;
    if (isOurOwn) return false;
    if (proc.reported) return true;
    return this.history.hasExit(task, proc.id, proc.run, writtenAt(join(proc.directory, EXIT_STATUS_FILE)));
  }

  /**
   * The processes of a task whose start was told and whose exit was not: by the event log or, where that is lost, by the files "started"
   * and "reported" in their directories. The init comes last.
   */
  owedExits(task: Task): string[] {
    const running = this.history.running(task);
    for (const name of task.processDirectories()) {
      const directory = join(task.directory, name);
      if (!running.has(name)) running.set(name, hasMark(directory, "started") && !hasMark(directory, "reported"));
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
    this.#publishExit(task, { process: name, status });
  }

  #publishExit({ namespace, id: object }: Task, payload: ExitPayload): void {
    this.#events.publish({ topic: "/tasks/exit", namespace, object, payload });
  }

  /** What else happens to a task. */
  tell({ namespace, id: object }: Task, topic: "/tasks/oom" | "/tasks/paused" | "/tasks/resumed"): void {
    this.#events.publish({ topic, namespace, object, payload: {} });
  }
}

type ExitPayload = Extract<TaskEvent, { topic: "/tasks/exit" }>["payload"];

/** `duration`: how long the process has run, in ms; one of ours without a start time was gone before it could be looked at. */
function exitFields({ id }: Task, { id: pid, systemPid, startTime, shim }: Process, status: number) {
  const duration = processAge(startTime) ?? (shim === undefined ? undefined : 0);
  return { id, pid, systemPid, status, duration };
}

/** In ns since the epoch; undefined when there is no such file, or it can't be reached. */
function writtenAt(path: string): bigint | undefined {
  try {
    return statSync(path, { bigint: true }).mtimeNs;
  } catch {
    return undefined;
  }
}
