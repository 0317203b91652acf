/** Does at most so many things at a time; the rest queue in the order they came. */
export class Workers {
  readonly limit: number;
  #running = 0;
  readonly #queue: (() => void)[] = [];

  constructor(limit: number) {
    this.limit = limit;
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
    if (this.#running >= this.limit) await this.#wait(signal);
    else this.#running++;
    try {
      return await work();
    } finally {
      const next = this.#queue.shift();
      // The worker goes to the next in the queue, or is free.
      if (next !== undefined) next();
      else this.#running--;
    }
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
