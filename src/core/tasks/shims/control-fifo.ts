import { closeSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { CLOSE_STDIN, RESIZE } from "../../../contract/shim/control.js";
import { CONTROL_FIFO } from "../../../contract/shim/process-directory.js";
import { openFifo } from "../../../system/linux/fifo.js";
import { hasCode } from "../../../system/linux/libc.js";
import { writeAtomically } from "../../files/write-atomically.js";
import { readStateFile } from "../state-directory/state-file.js";

/** What the FIFO had no room for. */
export const WAITING_REQUESTS = "control.waiting";

/** In ms: how long it takes from one try to the next while the FIFO is full, from the first to the longest. */
const FIRST_RETRY = 20;
const LONGEST_RETRY = 1_000;

/**
 * The daemon's end of a shim's control FIFO. A shim that does not read (stopped, or swapped out) must not hold up the daemon, nor
 * lose what it is asked for: what the FIFO has no room for waits here, the last size only, and in a file, so that the next daemon
 * goes on with it.
 */
export class ControlFifo {
  readonly #fd: number;
  readonly #file: string;
  /** The line that waits, by the kind of request. */
  readonly #waiting = new Map<number, string>();
  #saved = false;
  #retry = FIRST_RETRY;
  #timer: NodeJS.Timeout | undefined;

  /** Throws a system error, or an Error when there is no FIFO. */
  constructor(directory: string) {
    this.#fd = openFifo(join(directory, CONTROL_FIFO), "read-write");
    this.#file = join(directory, WAITING_REQUESTS);
  }

  /** Goes on with what an earlier daemon has left waiting. */
  takeOver(): void {
    for (const line of readLines(this.#file)) {
      this.#waiting.set(Number(line[0]), line);
      this.#saved = true;
    }
    if (this.#saved) this.#send();
  }

  closeStdin(): void {
    this.#request(CLOSE_STDIN, 0, 0);
  }

  resize(columns: number, rows: number): void {
    this.#request(RESIZE, columns, rows);
  }

  #request(kind: number, width: number, height: number): void {
    this.#waiting.set(kind, `${kind} ${width} ${height}\n`);
    if (this.#timer === undefined) this.#send();
    else this.#save();
  }

  #send(): void {
    this.#timer = undefined;
    for (const [kind, line] of this.#waiting) {
      try {
        writeSync(this.#fd, line);
      } catch (error) {
        if (!hasCode(error, "EAGAIN")) throw error;
        this.#timer = setTimeout(() => this.#send(), this.#retry).unref();
        this.#retry = Math.min(this.#retry * 2, LONGEST_RETRY);
        this.#save();
        return;
      }
      this.#waiting.delete(kind);
    }
    this.#retry = FIRST_RETRY;
    if (this.#saved) rmSync(this.#file, { force: true });
    this.#saved = false;
  }

  #save(): void {
    try {
      writeAtomically(this.#file, [...this.#waiting.values()].join(""));
      this.#saved = true;
    } catch {
      // A full disk: it is delivered for as long as this daemon lives.
    }
  }

  close(): void {
    clearTimeout(this.#timer);
    closeSync(this.#fd);
  }
}

/** The requests in such a file; what is none is passed over. */
function readLines(file: string): string[] {
  try {
    return readStateFile(file).match(/^[01] \d+ \d+\n/gm) ?? [];
  } catch {
    return [];
  }
}
