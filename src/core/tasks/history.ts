import { now } from "../../system/linux/clock.js";
import type { EventLog } from "../events/event-log.js";
import { isIdentifier } from "./identifier.js";
import { INIT } from "./process.js";
import type { TaskEvent } from "./task-event.js";

/** A task, by its names. */
export interface TaskName {
  readonly namespace: string;
  readonly id: string;
}

/** What the event log says of tasks: what was told of them, by this daemon or an earlier one. */
export class History {
  readonly #log: EventLog<TaskEvent>;

  constructor(log: EventLog<TaskEvent>) {
    this.#log = log;
  }

  /** True when an OOM kill of this task was told later than `after`. */
  hasOom(task: TaskName, after: bigint): boolean {
    return this.#of(task).some(({ topic, time }) => topic === "/tasks/oom" && time > after);
  }

  /**
   * Whether the exit of this run of the process was told. A run is recognised by pid and start time: an earlier process can have had the
   * same names, and the clock may have been set back since.
   * @param ended when it ended, if that was written down. Lines of daemons that do not note the run are matched by it: the exit must come
   *   after the last start, and not be earlier than this time
   */
  hasExit(task: TaskName, name: string, run: string, ended?: bigint): boolean {
    const about = this.#about(task, name);
    const start = about.findLastIndex(isStart);
    return about.some((event, index) => {
      if (event.topic !== "/tasks/exit") return false;
      if (event.payload.run !== undefined) return event.payload.run === run;
      return ended !== undefined && index > start && ended <= event.time && event.time <= now();
    });
  }

  /**
   * Whether the start of this run was told; undefined when the log no longer reaches back so far. A start that another daemon has written
   * does not name its run: it counts if the process has not exited since.
   */
  hasStart(task: TaskName, name: string, run: string): boolean | undefined {
    const about = this.#about(task, name);
    if (about.some((event) => isStart(event) && event.payload.run === run)) return true;
    const latest = about.at(-1);
    if (latest !== undefined && isStart(latest) && latest.payload.run === undefined) return true;
    return this.#log.isWhole ? false : undefined;
  }

  /** Whether the creation of this run of a task was told; undefined when the log no longer reaches back so far. */
  hasCreate(task: TaskName, run: string): boolean | undefined {
    return this.#hasTold(task, "/tasks/create", run) || (this.#log.isWhole ? false : undefined);
  }

  /** Whether the deletion of this run of a task was told. */
  hasDelete(task: TaskName, run: string): boolean {
    return this.#hasTold(task, "/tasks/delete", run);
  }

  #hasTold(task: TaskName, topic: "/tasks/create" | "/tasks/delete", run: string): boolean {
    return this.#of(task).some((event) => event.topic === topic && event.payload.run === run);
  }

  /** Whether it was told that an exec was added which has not run; undefined when the log no longer reaches back so far. */
  hasExecAdded(task: TaskName, name: string): boolean | undefined {
    const latest = this.#of(task).findLast(({ topic, payload }) => {
      return topic === "/tasks/exec-added"
        ? payload.process === name
        : processOf({ topic, payload } as TaskEvent) === name;
    });
    return latest?.topic === "/tasks/exec-added" || (this.#log.isWhole ? false : undefined);
  }

  /**
   * Which processes of a task run, by the events: true after a start, false after an exit. Only names that a process of ours can have: they
   * are taken for directories, and the log may be damaged, or another daemon's.
   */
  running(task: TaskName): Map<string, boolean> {
    const running = new Map<string, boolean>();
    for (const { topic, payload } of this.#of(task)) {
      if (topic === "/tasks/create" || topic === "/tasks/start") {
        // Execs of an earlier container with this id: their exits may have been lost on a full disk.
        running.clear();
        running.set(INIT, true);
      } else if (topic === "/tasks/exec-started") running.set(payload.process, true);
      else if (topic === "/tasks/exit") running.set(payload.process, false);
    }
    for (const name of running.keys()) if (!isIdentifier("process id", name)) running.delete(name);
    return running;
  }

  #of({ namespace, id }: TaskName): TaskEvent[] {
    return this.#log.stored.filter((event) => event.object === id && event.namespace === namespace);
  }

  /** The starts and exits of one process. */
  #about(task: TaskName, name: string): ProcessEvent[] {
    return this.#of(task).filter((event): event is ProcessEvent => processOf(event) === name);
  }
}

type ProcessEvent = Extract<TaskEvent, { topic: "/tasks/start" | "/tasks/exec-started" | "/tasks/exit" }>;

/** Name of the process that has started or ended. */
function processOf({ topic, payload }: TaskEvent): string | undefined {
  if (topic === "/tasks/start") return INIT;
  return topic === "/tasks/exec-started" || topic === "/tasks/exit" ? payload.process : undefined;
}

function isStart({ topic }: ProcessEvent): boolean {
  return topic !== "/tasks/exit";
}
