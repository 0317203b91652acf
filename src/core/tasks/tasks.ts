import { setMaxListeners } from "node:events";
import { join } from "node:path";
import type { Logger } from "pino";
import { epoll } from "../../system/linux/epoll.js";
import { errorText } from "../../system/linux/libc.js";
import { refill } from "../../system/linux/reserved-descriptors.js";
import { EventBus } from "../events/event-bus.js";
import { EventLog } from "../events/event-log.js";
import { Events } from "../events/events.js";
import { abortable } from "../failure/abortable.js";
import { Failure, taskNotFound } from "../failure/failure.js";
import { logText } from "../failure/log-text.js";
import { Workers } from "../scheduling/workers.js";
import { Metrics } from "../telemetry/metrics.js";
import { Operations } from "../telemetry/operations.js";
import { Exits } from "./exit/exits.js";
import { keepStopped } from "./exit/stopped.js";
import type { TaskName } from "./history.js";
import { deleteProcess } from "./operations/delete.js";
import { Reports } from "./reports.js";
import { restoreNamespaces } from "./restore/restore.js";
import { RunDirectory } from "./run-directory.js";
import { ShimPrograms } from "./shims/shim-programs.js";
import { eventLines } from "./state-directory/event-line.js";
import { Removals } from "./state-directory/removals.js";
import type { Task } from "./task.js";
import type { TaskEvent } from "./task-event.js";
import { TaskMap } from "./task-map.js";

export interface TasksOptions {
  stateDir: string;
  /** Where the tasks of namespaces are. */
  runDir: string;
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
  readonly runDirectory: RunDirectory;
  readonly runtime: string;
  readonly runtimeArgs: readonly string[];
  readonly startTimeout: number;
  readonly log: Logger;
  /** What happens to tasks and to all else. */
  readonly bus = new EventBus();
  readonly events: Events<TaskEvent>;
  readonly reports: Reports;
  readonly exits: Exits;
  readonly startWorkers: Workers;
  readonly metrics = new Metrics();
  readonly operations: Operations;
  readonly removals: Removals;
  readonly shims: ShimPrograms;
  /** Tasks of an earlier daemon of which it is not decided yet whether they run; settled when it is. */
  readonly restoring = new TaskMap<Promise<void>>();
  readonly #eventLog: EventLog<TaskEvent>;
  readonly #stopping = new AbortController();
  readonly #tasks = new TaskMap<Task>();

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
    this.#eventLog = eventLog;
    this.runDirectory = new RunDirectory(options.runDir, options.retainCount, log, () => restoreNamespaces(this));
    const logOf = (namespace: string) => (namespace === "" ? eventLog : this.runDirectory.eventLog);
    this.events = new Events(this.bus, logOf, ({ object, topic }, error) => {
      log.error({ error: errorText(error), id: object, topic }, "containerd: write events.log");
    });
    this.reports = new Reports(log, this.events);
    const { operations, metrics, reports } = this;
    this.exits = new Exits({
      ...{ log, operations, metrics, reports },
      ended: (task, proc) => {
        if (task.deleteOnExit) deleteProcess(this, task, proc);
        else keepStopped(reports, task, proc);
      },
    });
    // Any number of calls may wait for an exit.
    setMaxListeners(0, this.stopping);
    epoll.onError = (error) => log.error({ error: logText(error) }, "containerd: a watch has failed");
  }

  /** Where a task is. */
  directoryOf({ namespace, id }: TaskName): string {
    return namespace === "" ? join(this.stateDir, id) : this.runDirectory.taskDirectory({ namespace, id });
  }

  /** What a runtime gets so that the tasks of a namespace are apart from all others. */
  rootArgs(namespace: string): readonly string[] {
    return namespace === "" ? [] : ["--root", this.runDirectory.runtimeRoot(namespace)];
  }

  /** Its name is taken until it is deleted. */
  add(task: Task): void {
    this.#tasks.set(task, task);
  }

  remove(task: Task): void {
    if (this.has(task)) this.#tasks.delete(task);
  }

  has(task: Task): boolean {
    return this.#tasks.get(task) === task;
  }

  /** The task of that name whose creation is over. Throws Failure (not-found). */
  get(name: TaskName): Task {
    const task = this.#tasks.get(name);
    if (!task?.isKnown) throw taskNotFound(name.id);
    return task;
  }

  all(): Iterable<Task> {
    return this.#tasks.values();
  }

  /** All tasks whose creation is over; `namespace` only those of one. */
  list(namespace?: string): Task[] {
    return [...this.all()].filter((task) => task.isKnown && (namespace === undefined || task.namespace === namespace));
  }

  /** To be awaited before a call about a task of an earlier daemon: for as long as it is not decided whether that runs. */
  async restored(name: TaskName, call: { readonly signal: AbortSignal }): Promise<void> {
    const restoring = this.restoring.get(name);
    if (restoring !== undefined) await abortable(restoring, call.signal);
  }

  /** Aborted when the daemon stops: nobody is answered who waits for what may take for ever. */
  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  /** Ends subscriptions, and all other calls that may last for ever; what else is under way goes on. */
  stop(): void {
    this.bus.close();
    this.#stopping.abort(new Failure("unavailable", "daemon-stops", {}));
  }

  /** Lets go of everything; tasks go on. */
  close(): void {
    // First: what waits for that can be done then.
    this.#eventLog.close();
    this.runDirectory.close();
    this.removals.close();
    this.shims.close();
    epoll.close();
  }
}
