import { abortable } from "../failure/abortable.js";

/**
 * Orders the operations on one container. Shared ones (execs) run side by side; an exclusive one (pause, update, checkpoint, …) runs alone:
 * after all that were asked for before it, and before all that are asked for later. Since a container can hold up an exec, an exclusive
 * operation may limit how long it waits for shared ones.
 */
export class Turns {
  #lastExclusive: Promise<unknown> = Promise.resolve();
  readonly #shared = new Set<Promise<unknown>>();

  /**
   * Runs `operation` beside other shared ones.
   * @param signals each ends the wait: then it never runs, and its caller need not wait for its turn
   * @throws the signal's reason
   */
  shared<T>(signals: AbortSignal[], operation: () => Promise<T>): Promise<T> {
    const running = abortable(this.#lastExclusive, ...signals).then(operation);
    const settled: Promise<unknown> = running.then(ignore, ignore).then(() => this.#shared.delete(settled));
    this.#shared.add(settled);
    return running;
  }

  /**
   * Runs `operation` alone.
   * @param timeout in ms: how long shared ones that are under way are waited for
   */
  exclusive<T>(operation: () => Promise<T>, timeout = Number.POSITIVE_INFINITY): Promise<T> {
    const shared = Promise.all(this.#shared);
    const waited = timeout === Number.POSITIVE_INFINITY ? shared : within(shared, timeout);
    const running = Promise.all([this.#lastExclusive, waited]).then(operation);
    this.#lastExclusive = running.then(ignore, ignore);
    return running;
  }

  /** Resolves when everything that was asked for until now has ended. */
  async idle(): Promise<void> {
    await Promise.all([this.#lastExclusive, ...this.#shared]);
  }
}

/** Resolves when the promise has, or when its time is over. */
async function within(promise: Promise<unknown>, time: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, time);
  });
  await Promise.race([promise, late]);
  clearTimeout(timer);
}

function ignore(): void {}
