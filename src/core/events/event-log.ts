import { readFileSync } from "node:fs";
import { now } from "../../system/linux/clock.js";
import { hasCode } from "../../system/linux/libc.js";
import type { Event, EventLines, NewEvent } from "./event.js";
import { EventFile } from "./event-file.js";

/** In ms: how often a file that lacks events, or is too long, is tried to be written anew. */
const RETRY_INTERVAL = 1_000;

/** The last events, in memory and in a file, whatever happens to the daemon. */
export class EventLog<E extends Event> {
  readonly #lines: EventLines<E>;
  readonly #path: string;
  /** How many events are kept, here and in the file: up to twice as many before the oldest are dropped. */
  readonly #retain: number;
  #events: E[];
  #file: EventFile;
  /** The file lacks events: it is written anew as soon as that is possible. */
  #incomplete = false;
  /** What is done once it lacks none. */
  readonly #waiting: (() => void)[] = [];
  #retry: NodeJS.Timeout | undefined;
  #last = 0n;

  /**
   * Reads what is there. Lines that are no event (torn by a kill while it was written) are dropped.
   * @param lines what the file's lines look like
   * @param retain how many of the last events may be replayed
   * @throws a system error
   */
  constructor(path: string, lines: EventLines<E>, retain: number) {
    this.#lines = lines;
    this.#path = path;
    this.#retain = retain;
    const { events, damaged, torn } = readEvents(path, lines);
    this.#events = last(events, 2 * retain);
    // Not the last one's: a damaged file may have any order.
    for (const { time } of events) if (time > this.#last) this.#last = time;
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
   * Stores an event with the current time; it is in the file when this returns. If the file can't be written (a disk with errors) the event
   * is sent all the same, and {@link whenStored} tells when the file has it.
   * @param onError is told why the file could not be written
   */
  append(event: NewEvent<E>, onError: (error: unknown) => void): E {
    const time = now();
    this.#last = time > this.#last ? time : this.#last + 1n;
    const stored = { ...event, time: this.#last } as unknown as E;
    this.#events.push(stored);
    if (this.#events.length > 2 * this.#retain) this.#events = last(this.#events, this.#retain);
    this.#write(() => {
      if (this.#incomplete) this.#complete();
      else if (!this.#shorten()) this.#file.append(this.#lines.encode(stored));
    }, onError);
    return stored;
  }

  /**
   * Calls back once all events are in the file: at once, unless it can't be written. Events that are not in it are unknown to the next
   * daemon.
   */
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

  /**
   * Writes the file anew if it is too long. False when it is not, or when the disk has no room for a second file: the old one stays in use.
   */
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
  since(since: bigint): E[] {
    return last(this.#events, this.#retain).filter((event) => event.time > since);
  }

  /** Whether {@link since} lacks some: they were dropped for their age. When nobody can tell any more, it may. */
  lacks(since: bigint): boolean {
    const dropped = this.#events.length - this.#retain;
    if (dropped < 0) return false;
    return this.#events[dropped === 0 ? 0 : dropped - 1]!.time > since;
  }

  /** All that is in memory, oldest first. */
  get stored(): readonly E[] {
    return this.#events;
  }

  /** Nothing was dropped for its age yet. */
  get isWhole(): boolean {
    return this.#events.length < this.#retain;
  }

  close(): void {
    if (this.#incomplete) this.#tryToComplete();
    clearInterval(this.#retry);
    this.#file.close();
  }

  /**
   * Replaces the file by one with just the events to keep. A file that has all events is kept if the new one could not have room allocated
   * for more.
   */
  #rewritten(): EventFile {
    return EventFile.replace(this.#path, last(this.#events, this.#retain).map(this.#lines.encode), !this.#incomplete);
  }
}

function last<E>(events: E[], count: number): E[] {
  return events.slice(Math.max(0, events.length - count));
}

/** `torn`: the last line has no end. */
function readEvents<E extends Event>(
  path: string,
  lines: EventLines<E>,
): { events: E[]; damaged: boolean; torn: boolean } {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return { events: [], damaged: false, torn: false };
    throw error;
  }
  const torn = text !== "" && !text.endsWith("\n");
  let damaged = torn;
  const events: E[] = [];
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const event = lines.decode(line);
    if (event === undefined) damaged = true;
    else events.push(event);
  }
  return { events, damaged, torn };
}
