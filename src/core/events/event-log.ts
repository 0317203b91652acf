import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { formatRfc3339, parseRfc3339 } from "../../contract/go/rfc3339.js";
import { UNKNOWN_STATUS } from "../../contract/shim/exit-status.js";
import { now } from "../../system/linux/clock.js";
import { hasCode } from "../../system/linux/libc.js";
import { withReserve } from "../../system/linux/reserved-descriptors.js";
import { writeAtomically } from "../files/write-atomically.js";
import { INIT } from "../tasks/process.js";
import type { Event, EventType } from "./event.js";

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

/** In ms: how often a file that lacks events is tried to be written. */
const RETRY_INTERVAL = 1_000;

/** The last events, in memory and in `events.log`, whatever happens to the daemon. */
export class EventLog {
  readonly #path: string;
  /** How many events are kept, here and in the file: up to twice as many before the oldest are dropped. */
  readonly #retain: number;
  #events: Event[];
  #fd: number;
  /** Lines in the file: it is rewritten when it holds twice what is to be kept. */
  #lines: number;
  /** The file lacks events, or ends with a part of a line: it is written anew as soon as that is possible. */
  #incomplete = false;
  #retry: NodeJS.Timeout | undefined;
  #last = 0n;

  /**
   * Reads what is there. Lines that are no event (torn by a kill while it was written) are dropped.
   * @param retain how many of the last events may be replayed
   * @throws a system error
   */
  constructor(path: string, retain: number) {
    this.#path = path;
    this.#retain = retain;
    const { events, damaged } = readEvents(path);
    this.#events = last(events, 2 * retain);
    // Not the last one's: a damaged file may have any order.
    for (const { timestamp } of events) if (timestamp > this.#last) this.#last = timestamp;
    this.#lines = events.length;
    if (damaged || events.length > 2 * retain) {
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
    if (this.#events.length > 2 * this.#retain) this.#events = last(this.#events, this.#retain);
    try {
      if (this.#incomplete || this.#lines >= 2 * this.#retain) this.#complete();
      else this.#write(eventLine(stored));
    } catch (error) {
      this.#incomplete = true;
      this.#retry ??= setInterval(() => this.#tryToComplete(), RETRY_INTERVAL).unref();
      onError(error);
    }
    return stored;
  }

  /** Writes the file anew. Throws a system error. */
  #complete(): void {
    const previous = this.#fd;
    this.#fd = this.#rewrite();
    closeSync(previous);
    this.#incomplete = false;
    clearInterval(this.#retry);
    this.#retry = undefined;
  }

  #tryToComplete(): void {
    try {
      this.#complete();
    } catch {
      // Reported when it began.
    }
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
    return last(this.#events, this.#retain).filter((event) => event.timestamp > since);
  }

  /** True when the log holds an OOM kill of this container later than `after`. */
  hasOom(id: string, after: bigint): boolean {
    return this.#events.some((e) => e.type === "oom" && e.id === id && e.timestamp > after);
  }

  /**
   * True when the log holds the exit of this process. An exit of another one with the same names is told apart by its run, and not by the time:
   * clocks are set back.
   * @param ended when it ended, if that was written down: for the lines of a daemon that did not note the run, which are believed as far as time
   * and order allow
   */
  hasExit(id: string, pid: string, run: string, ended?: bigint): boolean {
    const start = this.#events.findLastIndex((e) => isStart(e, id, pid));
    const isLater = (e: Event, index: number) =>
      ended !== undefined && index > start && ended <= e.timestamp && e.timestamp <= now();
    return this.#events.some((e, index) => {
      if (e.type !== "exit" || e.id !== id || e.pid !== pid) return false;
      return e.run === undefined ? isLater(e, index) : e.run === run;
    });
  }

  /**
   * Whether the log holds the start of a process; undefined when it does not reach back to `since`, so that nobody can tell.
   * @param since when it was created: for the lines of a daemon that did not note the run
   */
  hasStart(id: string, pid: string, since: bigint, run?: string): boolean | undefined {
    const isOfRun = (e: Event) => (e.run === undefined ? e.timestamp >= since : e.run === run);
    if (this.#events.some((e) => isStart(e, id, pid) && isOfRun(e))) return true;
    const [first] = this.#events;
    const complete = this.#events.length < this.#retain || (first !== undefined && first.timestamp < since);
    return complete ? false : undefined;
  }

  /** What the log says of the processes of a container: true for one whose last event is its start, false when that is its exit. */
  running(id: string): Map<string, boolean> {
    const running = new Map<string, boolean>();
    for (const event of this.#events) {
      if (event.id !== id) continue;
      if (event.type === "start-container") {
        // Execs of an earlier one of that name, whose exits were lost with a full disk, are none of its.
        running.clear();
        running.set(INIT, true);
      } else if (event.type === "start-process" && event.pid !== undefined) running.set(event.pid, true);
      else if (event.type === "exit" && event.pid !== undefined) running.set(event.pid, false);
    }
    return running;
  }

  close(): void {
    if (this.#incomplete) this.#tryToComplete();
    clearInterval(this.#retry);
    closeSync(this.#fd);
  }

  /** Replaces the file by one with just the events to keep; returns a descriptor to append to it. */
  #rewrite(): number {
    const kept = last(this.#events, this.#retain);
    return withReserve(() => {
      writeAtomically(this.#path, kept.map(eventLine).join(""));
      this.#lines = kept.length;
      return openSync(this.#path, "a", 0o600);
    });
  }
}

function isStart(event: Event, id: string, pid: string): boolean {
  if (event.id !== id) return false;
  return pid === INIT ? event.type === "start-container" : event.type === "start-process" && event.pid === pid;
}

function last(events: Event[], count: number): Event[] {
  return events.slice(Math.max(0, events.length - count));
}

function eventLine({ id, type, timestamp, pid, status, run, memoryPeak }: Event): string {
  const line: EventLine = {
    id,
    type,
    timestamp: formatRfc3339(timestamp),
    ...(pid === undefined ? {} : { pid }),
    ...(status === undefined ? {} : { status }),
    ...(run === undefined ? {} : { run }),
    ...(memoryPeak === undefined ? {} : { memoryPeak: Number(memoryPeak) }),
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
    const { id, type, timestamp, pid, status, run, memoryPeak } = JSON.parse(line) as EventLine;
    if (typeof id !== "string" || typeof type !== "string") return undefined;
    if (pid !== undefined && typeof pid !== "string") return undefined;
    return {
      id,
      type,
      timestamp: parseRfc3339(timestamp),
      ...(pid === undefined ? {} : { pid }),
      // The original writes status 0 with every event, and -1 for "unknown".
      ...(status === undefined || type !== "exit" ? {} : { status: isStatus(status) ? status : UNKNOWN_STATUS }),
      ...(typeof run === "string" ? { run } : {}),
      ...(Number.isSafeInteger(memoryPeak) ? { memoryPeak: BigInt(memoryPeak!) } : {}),
    };
  } catch {
    return undefined;
  }
}

/** As a process can end with: an exit code, or 128 and a signal's number. */
function isStatus(status: unknown): boolean {
  return Number.isInteger(status) && 0 <= (status as number) && (status as number) <= UNKNOWN_STATUS;
}
