/** Does at most so many things at a time; the rest queue in the order they came. */
export class Workers {
  readonly #limit: number;
  #running = 0;
  readonly #queue: (() => void)[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Waiting, not running. */
  get queued(): number {
    return this.#queue.length;
  }

  /**
   * Runs `work` when a worker is free.
   * @param signal work that is called off while it waits is not done: rejects with the signal's reason
   */
  async run<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#limit) await this.#wait(signal);
    else this.#running++;
    try {
      return await work();
    } finally {
      this.#next();
    }
  }

  /** Within {@link run}: waits for something that may need a worker itself, and has another one work meanwhile. */
  async beside<T>(wait: () => Promise<T>): Promise<T> {
    this.#next();
    try {
      return await wait();
    } finally {
      // For a moment there may be one too many.
      this.#running++;
    }
  }

  /** The worker goes to the next in the queue, or is free. */
  #next(): void {
    const next = this.#queue.shift();
    if (next !== undefined) next();
    else this.#running--;
  }

  async #wait(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const turn = () => {
        signal?.removeEventListener("abort", leave);
        resolve();
      };
      const leave = () => {
        this.#queue.splice(this.#queue.indexOf(turn), 1);
        reject(signal!.reason);
      };
      this.#queue.push(turn);
      signal?.addEventListener("abort", leave, { once: true });
    });
  }
}
