import { join } from "node:path";
import type { Logger } from "pino";
import { epoll } from "../../system/linux/epoll.js";
import { errorText } from "../../system/linux/libc.js";
import { refill } from "../../system/linux/reserved-descriptors.js";
import { EventLog } from "../events/event-log.js";
import { Events } from "../events/events.js";
import { taskNotFound } from "../failure/failure.js";
import { logText } from "../failure/log-text.js";
import { Workers } from "../scheduling/workers.js";
import { Metrics } from "../telemetry/metrics.js";
import { Operations } from "../telemetry/operations.js";
import { Exits } from "./exit/exits.js";
import type { TaskName } from "./history.js";
import { deleteProcess } from "./operations/delete.js";
import { Reports } from "./reports.js";
import { ShimPrograms } from "./shims/shim-programs.js";
import { eventLines } from "./state-directory/event-line.js";
import { Removals } from "./state-directory/removals.js";
import type { Task } from "./task.js";
import type { TaskEvent } from "./task-event.js";

export interface TasksOptions {
  stateDir: string;
  /** Runtime of tasks that name none. */
  runtime: string;
  runtimeArgs: readonly string[];
  /** Name or path; undefined: this project's own. */
  shim: string | undefined;
  /** Where this project's own shim is. */
  ownShim: string;
  /** In ms: how long a start, an exec or a change may take. */
  startTimeout: number;
  /** How many events are kept. */
  retainCount: number;
  /** How many tasks are created at a time. */
  startWorkers: number;
  log: Logger;
}

/**
 * The single owner of all tasks. What is done with them is in operations/, one file each; operations change what is here in synchronous
 * sections, so that no two of them ever see it half changed.
 */
export class Tasks {
  readonly stateDir: string;
  readonly runtime: string;
  readonly runtimeArgs: readonly string[];
  readonly startTimeout: number;
  readonly log: Logger;
  readonly events: Events<TaskEvent>;
  readonly reports: Reports;
  readonly exits: Exits;
  readonly startWorkers: Workers;
  readonly metrics = new Metrics();
  readonly operations: Operations;
  readonly removals: Removals;
  readonly shims: ShimPrograms;
  /** Tasks of an earlier daemon of which it is not decided yet whether they run, by id; settled when it is. */
  readonly restoring = new Map<string, Promise<void>>();
  readonly #tasks = new Map<string, Task>();

  /** Opens the event log in the state directory, which is there. Throws a system error. */
  constructor(options: TasksOptions) {
    const { log } = options;
    this.log = log;
    this.stateDir = options.stateDir;
    this.runtime = options.runtime;
    this.runtimeArgs = options.runtimeArgs;
    this.startTimeout = options.startTimeout;
    this.startWorkers = new Workers(options.startWorkers);
    this.operations = new Operations(log);
    this.removals = new Removals(log);
    this.shims = new ShimPrograms(options.ownShim, options.shim);
    refill();
    const eventLog = new EventLog(join(this.stateDir, "events.log"), eventLines, options.retainCount);
    this.events = new Events(eventLog, ({ object, topic }, error) => {
      log.error({ error: errorText(error), id: object, topic }, "containerd: write events.log");
    });
    this.reports = new Reports(log, this.events);
    const { operations, metrics, reports } = this;
    this.exits = new Exits({
      ...{ log, operations, metrics, reports },
      ended: (task, proc) => {
        if (task.deleteOnExit) deleteProcess(this, task, proc);
      },
    });
    epoll.onError = (error) => log.error({ error: logText(error) }, "containerd: a watch has failed");
  }

  /** Known from its creation until it is deleted. */
  add(task: Task): void {
    this.#tasks.set(key(task), task);
  }

  remove(task: Task): void {
    if (this.has(task)) this.#tasks.delete(key(task));
  }

  has(task: Task): boolean {
    return this.#tasks.get(key(task)) === task;
  }

  /** The task of that name whose start is over. Throws Failure (not-found). */
  started(name: TaskName): Task {
    const task = this.#tasks.get(key(name));
    if (!task?.isStarted) throw taskNotFound(name.id);
    return task;
  }

  all(): Iterable<Task> {
    return this.#tasks.values();
  }

  /** All tasks whose start is over; `namespace` only those of one. */
  allStarted(namespace?: string): Task[] {
    return [...this.all()].filter(
      (task) => task.isStarted && (namespace === undefined || task.namespace === namespace),
    );
  }

  /** Lets go of everything; tasks go on. */
  close(): void {
    // First: what waits for that can be done then.
    this.events.log.close();
    this.removals.close();
    this.shims.close();
    epoll.close();
  }
}

/** An id has no slash. */
function key({ namespace, id }: TaskName): string {
  return `${namespace}/${id}`;
}
