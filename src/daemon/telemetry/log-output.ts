import { write } from "node:fs";
import { Writable } from "node:stream";
import { errorText, hasCode } from "../../system/linux/libc.js";

/** In bytes: how much is kept in memory while the reader of the log does not read. */
const CAPACITY = 8 * 1024 * 1024;
/** In bytes: how much is written at a time, unless one text is longer. */
const BATCH = 64 * 1024;
/** In ms: how soon a pipe that is full, and that somebody has made non-blocking, is tried again. */
const FULL_INTERVAL = 100;

const NEWLINE = "\n".charCodeAt(0);

/**
 * A descriptor that lines are written to in the background: nobody ever waits for it, and nothing is thrown. What can't be written is
 * dropped and counted.
 *
 * It is written to by Node's thread pool, one write at a time, so a pipe that nobody reads costs one of its threads. The descriptor stays
 * as it is: to make it non-blocking would do the same to all others who have it, the shell of whoever has started us among them.
 */
export class LogOutput {
  readonly #fd: number;
  readonly #capacity: number;
  #waiting: Buffer[] = [];
  /** Of what waits, without the write that is under way. */
  #size = 0;
  #writing = false;
  /** The last line that was written lacks its end. */
  #torn = false;
  #dropped = 0;
  /** Why lines were dropped, until that has been told. */
  #trouble: string | undefined;
  #idle: (() => void)[] = [];
  /** Called when something could be written again after something could not. */
  onRecovery: (dropped: number, reason: string) => void = () => {};

  constructor(fd: number, capacity: number = CAPACITY) {
    this.#fd = fd;
    this.#capacity = capacity;
  }

  /** How many lines could not be written. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Takes whole lines. */
  write(text: string): void {
    const bytes = Buffer.from(text);
    if (this.#size + bytes.length > this.#capacity) {
      this.#drop(bytes, "nobody reads it");
      return;
    }
    this.#waiting.push(bytes);
    this.#size += bytes.length;
    if (this.#writing) return;
    this.#writing = true;
    // After what the event loop is at: somebody may wait for that, and it may have more to write.
    setImmediate(() => this.#writeNext());
  }

  /** Resolves when all is written, or after this many ms. */
  flush(timeout: number): Promise<void> {
    if (!this.#writing) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeout);
      this.#idle.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  /**
   * Writes all that waits, and blocks this thread until that is done or these milliseconds are over: for a program in which nothing else
   * may run any more.
   */
  flushStandingStill(duration: number): void {
    const rest = Buffer.concat(this.#waiting.splice(0));
    if (rest.length > 0) write(this.#fd, rest, () => {});
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, duration);
  }

  /** As a stream, for what writes to `process.stderr`. */
  stream(): Writable {
    return new Writable({
      decodeStrings: false,
      write: (chunk: string | Buffer, _encoding, done) => {
        this.write(chunk.toString());
        done();
      },
    });
  }

  #writeNext(): void {
    this.#writing = this.#waiting.length > 0;
    if (!this.#writing) {
      for (const idle of this.#idle.splice(0)) idle();
      return;
    }
    let count = 0;
    let length = 0;
    for (; count < this.#waiting.length && (count === 0 || length < BATCH); count++)
      length += this.#waiting[count]!.length;
    const lines = Buffer.concat(this.#waiting.splice(0, count));
    this.#size -= lines.length;
    if (this.#torn) this.#writeAll(Buffer.concat([Buffer.of(NEWLINE), lines]), 1);
    else this.#writeAll(lines);
  }

  /** @param added how many bytes at the beginning belong to no line */
  #writeAll(bytes: Buffer, added = 0): void {
    write(this.#fd, bytes, (error, written) => {
      if (hasCode(error, "EAGAIN")) {
        setTimeout(() => this.#writeAll(bytes, added), FULL_INTERVAL).unref();
        return;
      }
      if (error !== null) {
        this.#drop(bytes.subarray(added), errorText(error));
      } else {
        this.#torn = bytes[written - 1] !== NEWLINE;
        if (written < bytes.length) {
          this.#writeAll(bytes.subarray(written));
          return;
        }
        this.#tellRecovery();
      }
      this.#writeNext();
    });
  }

  #drop(bytes: Buffer, reason: string): void {
    for (const byte of bytes) if (byte === NEWLINE) this.#dropped++;
    this.#trouble = reason;
  }

  #tellRecovery(): void {
    if (this.#trouble === undefined || this.#size > this.#capacity / 2) return;
    const reason = this.#trouble;
    this.#trouble = undefined;
    this.onRecovery(this.#dropped, reason);
  }
}
