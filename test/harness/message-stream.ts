import { setTimeout as sleep } from "node:timers/promises";
import type { ClientReadableStream } from "@grpc/grpc-js";
import { PATIENCE } from "./wait.js";

/** How many of the messages seen are told when another one does not come. */
const SEEN = 50;

/** What a call that is answered with many messages has brought: keeps them all. */
export class MessageStream<Message> implements Disposable, AsyncIterable<Message> {
  readonly messages: Message[] = [];
  /** Resolves at the end of the stream, rejects with the status it ended with. */
  readonly ended: Promise<void>;
  #over = false;
  #wake = new Set<() => void>();

  /** @param describe what is told of a message when another one does not come */
  constructor(
    private readonly stream: ClientReadableStream<Message>,
    private readonly describe: (message: Message) => unknown,
  ) {
    this.ended = new Promise((resolve, reject) => {
      stream.on("data", (message: Message) => {
        this.messages.push(message);
        this.#notify();
      });
      stream.on("end", () => {
        this.#over = true;
        this.#notify();
        resolve();
      });
      stream.on("error", (error) => {
        this.#over = true;
        this.#notify();
        reject(error);
      });
    });
    this.ended.catch(() => {});
  }

  #notify(): void {
    for (const wake of this.#wake) wake();
    this.#wake.clear();
  }

  /** The first message of the kind, seen already or coming. */
  async first(isWanted: (message: Message) => boolean, what: string, timeout = PATIENCE): Promise<Message> {
    const end = performance.now() + timeout;
    for (;;) {
      const found = this.messages.find(isWanted);
      if (found !== undefined) return found;
      const left = end - performance.now();
      if (this.#over || left <= 0) {
        const seen = this.messages.slice(-SEEN).map(this.describe);
        throw new Error(
          `no ${what} ${this.#over ? "before the stream ended" : `in ${timeout} ms`}; ` +
            `the last of ${this.messages.length} seen: ${JSON.stringify(seen)}`,
        );
      }
      const timer = new AbortController();
      await Promise.race([
        new Promise<void>((resolve) => this.#wake.add(resolve)),
        sleep(left, undefined, { signal: timer.signal }).catch(() => {}),
      ]);
      timer.abort();
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Message> {
    for (let next = 0; ; ) {
      while (next < this.messages.length) yield this.messages[next++]!;
      if (this.#over) return await this.ended;
      await new Promise<void>((resolve) => this.#wake.add(resolve));
    }
  }

  /** Stops reading (the daemon's queue for this subscriber fills up), and goes on. */
  pause(): void {
    this.stream.pause();
  }
  resume(): void {
    this.stream.resume();
  }

  cancel(): void {
    this.stream.cancel();
  }
  [Symbol.dispose](): void {
    this.cancel();
  }
}
