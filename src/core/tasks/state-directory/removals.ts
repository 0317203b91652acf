import type { Logger } from "pino";
import { errorText } from "../../../system/linux/libc.js";
import { withReserve } from "../../../system/linux/reserved-descriptors.js";
import { abortable } from "../../failure/abortable.js";

/** In ms: how long after a failure it is tried again, twice as long after each. */
const FIRST_DELAY = 500;
const LONGEST_DELAY = 60_000;

/** A directory that has to go. */
class Removal {
  readonly #remove: () => void;
  /** Resolves once it may be tried. */
  readonly ready: Promise<void>;
  isReady = false;
  failures = 0;
  timer: NodeJS.Timeout | undefined;

  constructor(remove: () => void, ready: Promise<void>) {
    this.#remove = remove;
    this.ready = ready;
  }

  /** Throws a system error. */
  try(): void {
    withReserve(this.#remove);
  }
}

/**
 * The directories of what has ended, and was told to have: one that can't be removed (a disk with errors, a file that may not be touched)
 * is tried again until it is gone, and so its name is free as soon as that is possible.
 */
export class Removals {
  readonly #log: Logger;
  readonly #pending = new Map<string, Removal>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /**
   * Removes a directory, now or as soon as that is possible; never throws.
   * @param remove may be called any number of times
   * @returns whether it is gone
   */
  now(directory: string, remove: () => void): boolean {
    const removal = new Removal(remove, Promise.resolve());
    removal.isReady = true;
    this.#pending.set(directory, removal);
    this.#try(directory, removal);
    return !this.#pending.has(directory);
  }

  /** As {@link now}, once `ready`, which never rejects, is settled. */
  after(ready: Promise<void>, directory: string, remove: () => void): void {
    const removal = new Removal(remove, ready);
    this.#pending.set(directory, removal);
    void ready.then(() => {
      removal.isReady = true;
      // Otherwise it has gone with the directory that it was in, and the name may be another's.
      if (this.#pending.get(directory) === removal) this.#try(directory, removal);
    });
  }

  /**
   * To be awaited before the name of a directory is used again: waits for what it has to wait for, and tries once more.
   * @throws the signal's reason
   */
  async settled(directory: string, signal: AbortSignal): Promise<void> {
    const removal = this.#pending.get(directory);
    if (removal === undefined) return;
    await abortable(removal.ready, signal);
    if (this.#pending.get(directory) === removal) this.#try(directory, removal);
  }

  /** Resolves once nothing waits any more for what it has to wait for. */
  async allReady(): Promise<void> {
    await Promise.all([...this.#pending.values()].map(({ ready }) => ready));
  }

  #try(directory: string, removal: Removal): void {
    clearTimeout(removal.timer);
    try {
      removal.try();
    } catch (error) {
      if (removal.failures++ === 0) {
        this.#log.error({ directory, error: errorText(error) }, "containerd: remove directory; trying again");
      }
      const delay = Math.min(FIRST_DELAY * 2 ** removal.failures, LONGEST_DELAY);
      removal.timer = setTimeout(() => this.#try(directory, removal), delay).unref();
      return;
    }
    if (removal.failures > 0) this.#log.info({ directory }, "containerd: directory removed");
    // Another one may have had this name since, and be on its way out too.
    if (this.#pending.get(directory) === removal) this.#forget(directory);
  }

  /** With all that was in it: others may have these names from now on. */
  #forget(directory: string): void {
    for (const [path, { timer }] of this.#pending) {
      if (path !== directory && !path.startsWith(`${directory}/`)) continue;
      clearTimeout(timer);
      this.#pending.delete(path);
    }
  }

  /** Nothing is tried any more. */
  close(): void {
    for (const { timer } of this.#pending.values()) clearTimeout(timer);
    this.#pending.clear();
  }
}
