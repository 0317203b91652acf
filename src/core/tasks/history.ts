import { now } from "../../system/linux/clock.js";
import type { EventLog } from "../events/event-log.js";
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
   * True when the exit of this process was told. An exit of another one with the same names is told apart by its run, and not by the time:
   * clocks are set back.
   * @param ended when it ended, if that was written down: for the lines of a daemon that did not note the run, which are believed as far as
   * time and order allow
   */
  hasExit(task: TaskName, process: string, run: string, ended?: bigint): boolean {
    const about = this.#about(task, process);
    const start = about.findLastIndex(isStart);
    return about.some((event, index) => {
      if (event.topic !== "/tasks/exit") return false;
      if (event.payload.run !== undefined) return event.payload.run === run;
      return ended !== undefined && index > start && ended <= event.time && event.time <= now();
    });
  }

  /**
   * Whether the start of a run was told; undefined when it may have been cut off since. A line of a daemon that did not note the run is
   * believed when no exit of that process comes after it.
   */
  hasStart(task: TaskName, process: string, run: string): boolean | undefined {
    const about = this.#about(task, process);
    if (about.some((event) => isStart(event) && event.payload.run === run)) return true;
    const latest = about.at(-1);
    if (latest !== undefined && isStart(latest) && latest.payload.run === undefined) return true;
    return this.#log.isWhole ? false : undefined;
  }

  /** What was told of the processes of a task: true for one of which that is its start, false when it is its exit. */
  running(task: TaskName): Map<string, boolean> {
    const running = new Map<string, boolean>();
    for (const { topic, payload } of this.#of(task)) {
      if (topic === "/tasks/start") {
        // Execs of an earlier one of that name, whose exits were lost with a full disk, are none of its.
        running.clear();
        running.set(INIT, true);
      } else if (topic === "/tasks/exec-started") running.set(payload.process, true);
      else if (topic === "/tasks/exit") running.set(payload.process, false);
    }
    return running;
  }

  #of({ namespace, id }: TaskName): TaskEvent[] {
    return this.#log.stored.filter((event) => event.object === id && event.namespace === namespace);
  }

  /** The starts and exits of one process. */
  #about(task: TaskName, process: string): ProcessEvent[] {
    return this.#of(task).filter((event): event is ProcessEvent => processOf(event) === process);
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
