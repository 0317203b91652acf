/** Orders what is done with things that have names: one after the other for each name, beside each other for different ones. */
export class NamedTurns {
  /** The end of what is under way for a name, and of all that waits for it. */
  readonly #ends = new Map<string, Promise<void>>();

  /** Runs `work` once all earlier ones of this name have ended, however they did. */
  run<T>(name: string, work: () => Promise<T>): Promise<T> {
    const running = (this.#ends.get(name) ?? Promise.resolve()).then(work);
    const end: Promise<void> = running.then(ignore, ignore).then(() => {
      if (this.#ends.get(name) === end) this.#ends.delete(name);
    });
    this.#ends.set(name, end);
    return running;
  }
}

function ignore(): void {}
