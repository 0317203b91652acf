import { readFileSync } from "node:fs";
import { formatRfc3339, parseRfc3339 } from "../../contract/go/rfc3339.js";
import { UNKNOWN_STATUS } from "../../contract/shim/exit-status.js";
import { now } from "../../system/linux/clock.js";
import { hasCode } from "../../system/linux/libc.js";
import { INIT } from "../tasks/process.js";
import type { Event, EventType } from "./event.js";
import { EventFile } from "./event-file.js";

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

/** In ms: how often a file that lacks events, or is too long, is tried to be written anew. */
const RETRY_INTERVAL = 1_000;

/** The last events, in memory and in `events.log`, whatever happens to the daemon. */
export class EventLog {
  readonly #path: string;
  /** How many events are kept, here and in the file: up to twice as many before the oldest are dropped. */
  readonly #retain: number;
  #events: Event[];
  #file: EventFile;
  /** The file lacks events: it is written anew as soon as that is possible. */
  #incomplete = false;
  /** What is done once it lacks none. */
  readonly #waiting: (() => void)[] = [];
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
    const { events, damaged, torn } = readEvents(path);
    this.#events = last(events, 2 * retain);
    // Not the last one's: a damaged file may have any order.
    for (const { timestamp } of events) if (timestamp > this.#last) this.#last = timestamp;
    if (damaged || events.length > 2 * retain) {
      try {
        this.#file = this.#rewritten();
        return;
      } catch {
        // The disk is full, or something has the name of the new file. All events are in this one, too.
        this.#retryLater();
      }
    }
    this.#file = EventFile.open(path, events.length);
    if (torn) this.#write(() => this.#file.endLine());
  }

  /**
   * Stores an event with the time now; it is in the file when this returns. A file that can't be written (a disk with errors) does not keep the
   * event from being sent: {@link whenStored} tells when it is there.
   * @param onError is told why the file could not be written
   */
  append(event: Omit<Event, "timestamp">, onError: (error: unknown) => void): Event {
    const time = now();
    this.#last = time > this.#last ? time : this.#last + 1n;
    const stored: Event = { ...event, timestamp: this.#last };
    this.#events.push(stored);
    if (this.#events.length > 2 * this.#retain) this.#events = last(this.#events, this.#retain);
    this.#write(() => {
      if (this.#incomplete) this.#complete();
      else if (!this.#shorten()) this.#file.append(eventLine(stored));
    }, onError);
    return stored;
  }

  /** Calls back once all events are in the file: at once, unless it can't be written. Until then a daemon that takes over knows nothing of the last ones. */
  whenStored(then: () => void): void {
    if (this.#incomplete) this.#waiting.push(then);
    else then();
  }

  #write(write: () => void, onError: (error: unknown) => void = () => {}): void {
    try {
      write();
    } catch (error) {
      this.#incomplete = true;
      this.#retryLater();
      onError(error);
    }
  }

  /** Writes the file anew if it is too long; false when it is not, or when there is no room for a second one now: it serves all the same. */
  #shorten(): boolean {
    if (this.#file.lines < 2 * this.#retain || this.#retry !== undefined) return false;
    try {
      this.#complete();
      return true;
    } catch {
      this.#retryLater();
      return false;
    }
  }

  /** Writes the file anew. Throws a system error. */
  #complete(): void {
    const previous = this.#file;
    this.#file = this.#rewritten();
    previous.close();
    this.#incomplete = false;
    clearInterval(this.#retry);
    this.#retry = undefined;
    for (const then of this.#waiting.splice(0)) then();
  }

  #retryLater(): void {
    this.#retry ??= setInterval(() => this.#tryToComplete(), RETRY_INTERVAL).unref();
  }

  #tryToComplete(): void {
    try {
      this.#complete();
    } catch {
      // Reported when it began.
    }
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
   * Whether the log holds the start of a run that has not been seen to end; undefined when it may have been cut off since. A line of a daemon that did not
   * note the run is believed when no exit of that process comes after it.
   */
  hasStart(id: string, pid: string, run: string): boolean | undefined {
    const about = this.#events.filter(
      (e) => isStart(e, id, pid) || (e.type === "exit" && e.id === id && e.pid === pid),
    );
    if (about.some((e) => isStart(e, id, pid) && e.run === run)) return true;
    const latest = about.at(-1);
    if (latest !== undefined && latest.type !== "exit" && latest.run === undefined) return true;
    return this.#events.length < this.#retain ? false : undefined;
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
    this.#file.close();
  }

  /** A file with just the events to keep, in the place of the one that is there. One that lacks none is not given away for one without room for more. */
  #rewritten(): EventFile {
    return EventFile.replace(this.#path, last(this.#events, this.#retain).map(eventLine), !this.#incomplete);
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

/** `torn`: the last line has no end. */
function readEvents(path: string): { events: Event[]; damaged: boolean; torn: boolean } {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return { events: [], damaged: false, torn: false };
    throw error;
  }
  const torn = text !== "" && !text.endsWith("\n");
  let damaged = torn;
  const events: Event[] = [];
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const event = parseLine(line);
    if (event === undefined) damaged = true;
    else events.push(event);
  }
  return { events, damaged, torn };
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
