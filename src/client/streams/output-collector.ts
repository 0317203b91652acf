import type { Readable } from "node:stream";

/** Keeps what a stream brings, up to a number of bytes; the rest is read and dropped. */
export class OutputCollector {
  readonly #limit: number;
  readonly #exceeded: () => void;
  readonly #chunks: Buffer[] = [];
  #size = 0;

  constructor(limit: number, exceeded: () => void) {
    this.#limit = limit;
    this.#exceeded = exceeded;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  collect(stream: Readable): void {
    stream.on("data", (chunk: Buffer) => {
      const room = this.#limit - this.#size;
      if (room > 0) this.#chunks.push(chunk.length > room ? chunk.subarray(0, room) : chunk);
      this.#size += chunk.length;
      if (chunk.length > room) this.#exceeded();
    });
    // Its end is what matters; that it was destroyed has a reason of its own.
    stream.on("error", () => {});
  }
}
