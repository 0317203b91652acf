/**
 * Orders the operations on one container. Shared ones (execs) run side by side; an exclusive one (pause, update, checkpoint, …) runs
 * alone: after all that came before it, before all that come later.
 */
export class Turns {
  #lastExclusive: Promise<unknown> = Promise.resolve();
  readonly #shared = new Set<Promise<unknown>>();

  /** Runs `operation` beside other shared ones. */
  shared<T>(operation: () => Promise<T>): Promise<T> {
    const running = this.#lastExclusive.then(operation);
    const settled: Promise<unknown> = running.then(ignore, ignore).then(() => this.#shared.delete(settled));
    this.#shared.add(settled);
    return running;
  }

  /** Runs `operation` alone. */
  exclusive<T>(operation: () => Promise<T>): Promise<T> {
    const running = Promise.all([this.#lastExclusive, ...this.#shared]).then(operation);
    this.#lastExclusive = running.then(ignore, ignore);
    return running;
  }

  /** Resolves when everything that was asked for until now has ended. */
  async idle(): Promise<void> {
    await Promise.all([this.#lastExclusive, ...this.#shared]);
  }
}

function ignore(): void {}
