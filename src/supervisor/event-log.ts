import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { now } from "../linux/clock.js";
import { hasCode } from "../linux/libc.js";
import { INIT } from "../runtime/process.js";
import { writeAtomically } from "../runtime/write-atomically.js";
import type { Event, EventType } from "./event.js";
import { formatTimestamp, parseTimestamp } from "./timestamp.js";

/** A line of events.log. */
interface EventLine {
  id: string;
  type: EventType;
  timestamp: string;
  pid?: string;
  status?: number;
}

/** Kept at least, however few may be replayed: a restart looks here for what was reported already. */
const MIN_KEPT = 100;

/** The last events, in memory and in `events.log`, whatever happens to the daemon. */
export class EventLog {
  readonly #path: string;
  readonly #retain: number;
  /** How many events are kept, here and in the file: up to twice as many before the oldest are dropped. */
  readonly #keep: number;
  #events: Event[];
  #fd: number;
  /** Lines in the file: it is rewritten when it holds twice what is to be kept. */
  #lines: number;
  /** The file lacks events, or ends with a part of a line: it is written anew as soon as that is possible. */
  #incomplete = false;
  #last: bigint;

  /**
   * Reads what is there. Lines that are no event (torn by a kill while it was written) are dropped.
   * @param retain how many of the last events may be replayed
   * @throws a system error
   */
  constructor(path: string, retain: number) {
    this.#path = path;
    this.#retain = retain;
    this.#keep = Math.max(retain, MIN_KEPT);
    const { events, damaged } = readEvents(path);
    this.#events = events.slice(-this.#keep);
    this.#last = events.at(-1)?.timestamp ?? 0n;
    this.#lines = events.length;
    if (damaged || events.length > 2 * this.#keep) {
      try {
        this.#fd = this.#rewrite();
        return;
      } catch {
        // The disk is full, or something has the name of the new file: it is tried again with the next event.
        this.#incomplete = true;
      }
    }
    this.#fd = openSync(path, "a", 0o600);
  }

  /**
   * Stores an event with the time now; it is in the file when this returns. A file that can't be written (disk full) does not keep the
   * event from being sent.
   * @param onError is told why the file could not be written
   */
  append(event: Omit<Event, "timestamp">, onError: (error: unknown) => void): Event {
    const time = now();
    this.#last = time > this.#last ? time : this.#last + 1n;
    const stored: Event = { ...event, timestamp: this.#last };
    this.#events.push(stored);
    if (this.#events.length > 2 * this.#keep) this.#events = this.#events.slice(-this.#keep);
    try {
      if (this.#incomplete || this.#lines >= 2 * this.#keep) {
        const previous = this.#fd;
        this.#fd = this.#rewrite();
        closeSync(previous);
        this.#incomplete = false;
      } else {
        this.#write(eventLine(stored));
      }
    } catch (error) {
      this.#incomplete = true;
      onError(error);
    }
    return stored;
  }

  #write(line: string): void {
    const bytes = Buffer.from(line);
    // A disk that is just full takes a part of it.
    if (writeSync(this.#fd, bytes) < bytes.length) throw new Error("no space left on device");
    this.#lines++;
  }

  /** When the newest event was stored, 0 when there was none: all that follow are later, whatever the clock does. */
  get last(): bigint {
    return this.#last;
  }

  /** Stored events strictly later than `since`, oldest first. */
  since(since: bigint): Event[] {
    const first = Math.max(0, this.#events.length - this.#retain);
    return this.#events.slice(first).filter((event) => event.timestamp > since);
  }

  /** True when the log holds an exit of this process that is not older than `since`. */
  hasExit(id: string, pid: string, since: bigint): boolean {
    return this.#events.some((e) => e.type === "exit" && e.id === id && e.pid === pid && e.timestamp >= since);
  }

  /**
   * Whether the log holds the start of a process at or after `since`; undefined when it does not reach back that far, so that nobody
   * can tell.
   */
  hasStart(id: string, pid: string, since: bigint): boolean | undefined {
    const isStart = (e: Event) =>
      pid === INIT ? e.type === "start-container" : e.type === "start-process" && e.pid === pid;
    if (this.#events.some((e) => e.id === id && isStart(e) && e.timestamp >= since)) return true;
    const complete = this.#events.length < this.#keep || this.#events[0]!.timestamp < since;
    return complete ? false : undefined;
  }

  /** What the log says of the processes of a container: true for one whose last event is its start, false when that is its exit. */
  running(id: string): Map<string, boolean> {
    const running = new Map<string, boolean>();
    for (const event of this.#events) {
      if (event.id !== id) continue;
      if (event.type === "start-container") running.set(INIT, true);
      else if (event.type === "start-process" && event.pid !== undefined) running.set(event.pid, true);
      else if (event.type === "exit" && event.pid !== undefined) running.set(event.pid, false);
    }
    return running;
  }

  close(): void {
    closeSync(this.#fd);
  }

  /** Replaces the file by one with just the events to keep; returns a descriptor to append to it. */
  #rewrite(): number {
    const kept = this.#events.slice(-this.#keep);
    writeAtomically(this.#path, kept.map(eventLine).join(""));
    this.#lines = kept.length;
    return openSync(this.#path, "a", 0o600);
  }
}

function eventLine({ id, type, timestamp, pid, status }: Event): string {
  const line: EventLine = {
    id,
    type,
    timestamp: formatTimestamp(timestamp),
    ...(pid === undefined ? {} : { pid }),
    ...(status === undefined ? {} : { status }),
  };
  return `${JSON.stringify(line)}\n`;
}

function readEvents(path: string): { events: Event[]; damaged: boolean } {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return { events: [], damaged: false };
    throw error;
  }
  let damaged = text !== "" && !text.endsWith("\n");
  const events: Event[] = [];
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const event = parseLine(line);
    if (event === undefined) damaged = true;
    else events.push(event);
  }
  return { events, damaged };
}

function parseLine(line: string): Event | undefined {
  try {
    const { id, type, timestamp, pid, status } = JSON.parse(line) as EventLine;
    if (typeof id !== "string" || typeof type !== "string") return undefined;
    return {
      id,
      type,
      timestamp: parseTimestamp(timestamp),
      ...(pid === undefined ? {} : { pid }),
      // The original writes status 0 with every event, and -1 for "unknown".
      ...(status === undefined || type !== "exit" ? {} : { status: status < 0 ? 255 : status }),
    };
  } catch {
    return undefined;
  }
}
