import { closeSync, readSync } from "node:fs";
import { EPOLLIN, epoll } from "../../../system/linux/epoll.js";
import { makeFifo, openFifo } from "../../../system/linux/fifo.js";
import { hasCode } from "../../../system/linux/libc.js";

/** In bytes. */
const KEPT_OUTPUT = 4096;

const buffer = Buffer.alloc(64 * 1024);

/** What a check prints, by a FIFO: its beginning is kept, the rest is read so that it does not stand still. */
export class CheckOutput {
  readonly #fd: number;
  #kept = Buffer.alloc(0);
  #isOpen = true;

  /** @param path of the FIFO, which is made when it is not there. @throws a system error */
  constructor(path: string) {
    try {
      makeFifo(path);
    } catch (error) {
      if (!hasCode(error, "EEXIST")) throw error;
    }
    this.#fd = openFifo(path, "read-write");
    epoll.add(this.#fd, EPOLLIN, () => this.#read());
  }

  #read(): void {
    for (;;) {
      let count = 0;
      try {
        count = readSync(this.#fd, buffer);
      } catch (error) {
        if (hasCode(error, "EAGAIN")) return;
        throw error;
      }
      const room = KEPT_OUTPUT - this.#kept.length;
      if (room > 0) this.#kept = Buffer.concat([this.#kept, buffer.subarray(0, Math.min(count, room))]);
      // Others get their turn; what one prints that does not end to print is not read to its end.
      if (count < buffer.length || room <= count) return;
    }
  }

  /** @returns what was printed, at most 4096 bytes */
  end(): Buffer {
    if (!this.#isOpen) return this.#kept;
    this.#isOpen = false;
    try {
      this.#read();
    } finally {
      epoll.remove(this.#fd);
      closeSync(this.#fd);
    }
    return this.#kept;
  }
}
