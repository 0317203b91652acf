import { formatRfc3339, parseRfc3339 } from "../../../contract/go/rfc3339.js";
import { UNKNOWN_STATUS } from "../../../contract/shim/exit-status.js";
import type { EventLines } from "../../events/event.js";
import { pidOf } from "../process.js";
import type { TaskEvent, TaskTopic } from "../task-event.js";

/** What containerd 0.2 calls an event, in its log and on the wire. It knows no others. */
export const EVENT_TYPES = {
  "/tasks/start": "start-container",
  "/tasks/exec-started": "start-process",
  "/tasks/exit": "exit",
  "/tasks/oom": "oom",
  "/tasks/paused": "pause",
  "/tasks/resumed": "resume",
} as const satisfies { [Topic in TaskTopic]?: string };

/** An event that containerd 0.2 knows: all that happen to the tasks of its API, which have no namespace. */
export type Event02 = Extract<TaskEvent, { topic: keyof typeof EVENT_TYPES }>;

type EventType = (typeof EVENT_TYPES)[keyof typeof EVENT_TYPES];

/** A line of events.log. */
interface EventLine {
  id: string;
  type: EventType;
  timestamp: string;
  pid?: string;
  status?: number;
  /** Not in the original's lines, nor in those of our first release. */
  run?: string;
  memoryPeak?: number;
}

/** The lines of events.log: those of containerd 0.2, with fields that it passes over. */
export const eventLines: EventLines<TaskEvent> = { encode, decode };

function encode(event: TaskEvent): string {
  const known = event as Event02;
  const line: EventLine = {
    id: known.object,
    type: EVENT_TYPES[known.topic],
    timestamp: formatRfc3339(known.time),
    ...fieldsOf(known),
  };
  return `${JSON.stringify(line)}\n`;
}

function fieldsOf({ topic, payload }: Event02): Partial<EventLine> {
  switch (topic) {
    case "/tasks/start":
      return runOf(payload);
    case "/tasks/exec-started":
      return { pid: payload.process, ...runOf(payload) };
    case "/tasks/exit": {
      const { process: pid, status, memoryPeak } = payload;
      const peak = memoryPeak === undefined ? {} : { memoryPeak: Number(memoryPeak) };
      return { pid, status, ...runOf(payload), ...peak };
    }
    default:
      return {};
  }
}

function decode(text: string): TaskEvent | undefined {
  try {
    const line = JSON.parse(text) as EventLine;
    const { id: object, timestamp, pid } = line;
    if (typeof object !== "string" || (pid !== undefined && typeof pid !== "string")) return undefined;
    const time = parseRfc3339(timestamp);
    const event = eventOf(line, time);
    return event && ({ namespace: "", object, time, ...event } as TaskEvent);
  } catch {
    return undefined;
  }
}

function eventOf(line: EventLine, time: bigint): Pick<TaskEvent, "topic" | "payload"> | undefined {
  const { type, pid: process = "", status, memoryPeak } = line;
  const run = runOf(line);
  const pid = pidOf(run.run);
  switch (type) {
    case "start-container":
      return { topic: "/tasks/start", payload: { pid, ...run } };
    case "start-process":
      return { topic: "/tasks/exec-started", payload: { process, pid, ...run } };
    case "exit": {
      const peak = Number.isSafeInteger(memoryPeak) ? { memoryPeak: BigInt(memoryPeak!) } : {};
      const payload = { process, pid, status: statusOf(status), exitedAt: time, ...run, ...peak };
      return { topic: "/tasks/exit", payload };
    }
    case "oom":
      return { topic: "/tasks/oom", payload: {} };
    case "pause":
      return { topic: "/tasks/paused", payload: {} };
    case "resume":
      return { topic: "/tasks/resumed", payload: {} };
  }
}

function runOf({ run }: { run?: string }): { run?: string } {
  return typeof run === "string" ? { run } : {};
}

/** As a process can end with: an exit code, or 128 and a signal's number. The original writes -1 for "unknown". */
function statusOf(status: unknown = 0): number {
  const isStatus = Number.isInteger(status) && 0 <= (status as number) && (status as number) <= UNKNOWN_STATUS;
  return isStatus ? (status as number) : UNKNOWN_STATUS;
}
