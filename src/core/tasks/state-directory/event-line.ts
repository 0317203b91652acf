import { formatRfc3339, parseRfc3339 } from "../../../contract/go/rfc3339.js";
import { UNKNOWN_STATUS } from "../../../contract/shim/exit-status.js";
import type { EventLines } from "../../events/event.js";
import type { TaskEvent, TaskTopic } from "../task-event.js";

/** What containerd 0.2 calls an event, in its log and on the wire. */
export const EVENT_TYPES = {
  "/tasks/start": "start-container",
  "/tasks/exec-started": "start-process",
  "/tasks/exit": "exit",
  "/tasks/oom": "oom",
  "/tasks/paused": "pause",
  "/tasks/resumed": "resume",
} as const satisfies Record<TaskTopic, string>;

type EventType = (typeof EVENT_TYPES)[TaskTopic];

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
  const line: EventLine = {
    id: event.object,
    type: EVENT_TYPES[event.topic],
    timestamp: formatRfc3339(event.time),
    ...fieldsOf(event),
  };
  return `${JSON.stringify(line)}\n`;
}

function fieldsOf({ topic, payload }: TaskEvent): Partial<EventLine> {
  switch (topic) {
    case "/tasks/start":
      return payload;
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
    const event = eventOf(line);
    return event && ({ namespace: "", object, time: parseRfc3339(timestamp), ...event } as TaskEvent);
  } catch {
    return undefined;
  }
}

function eventOf(line: EventLine): Pick<TaskEvent, "topic" | "payload"> | undefined {
  const { type, pid: process = "", status, memoryPeak } = line;
  switch (type) {
    case "start-container":
      return { topic: "/tasks/start", payload: runOf(line) };
    case "start-process":
      return { topic: "/tasks/exec-started", payload: { process, ...runOf(line) } };
    case "exit": {
      const peak = Number.isSafeInteger(memoryPeak) ? { memoryPeak: BigInt(memoryPeak!) } : {};
      return { topic: "/tasks/exit", payload: { process, status: statusOf(status), ...runOf(line), ...peak } };
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
