import { setTimeout as sleep } from "node:timers/promises";
import type { Failure } from "../failure/failure.js";
import { Fault } from "./fault.js";

/** How often a request is made when all of it fails in ways that pass. */
const ATTEMPTS = 5;
/** The same where somebody else can be asked instead, who has answered before; who never has is asked once. */
const ATTEMPTS_BEFORE_NEXT = 2;
/** In ms. */
const LONGEST_DELAY = 15_000;
/** How often a body is fetched that was not what it should be. */
const CONTENTS = 2;

export interface RetryOptions {
  readonly signal: AbortSignal;
  readonly onRetry?: ((failure: Failure, delay: number) => void) | undefined;
  /** In ms. */
  readonly delay: number;
  /** Whether nobody else can be asked. */
  readonly isLast: boolean;
  /** Whether anything has ever answered there: it may come back then. */
  readonly isReached: () => boolean;
}

/** Whether, and when, what has failed is tried again. */
export class Retries {
  readonly #options: RetryOptions;
  #failed = 0;
  #wrong = 0;

  constructor(options: RetryOptions) {
    this.#options = options;
  }

  /** It went on well for a while: earlier faults don't count any more. */
  progressed(): void {
    this.#failed = 0;
  }

  /**
   * Waits until what has failed can be tried again.
   * @throws the fault, when it can't; the signal's reason
   */
  async wait(error: unknown): Promise<void> {
    const { signal, delay, isLast, isReached, onRetry } = this.#options;
    signal.throwIfAborted();
    if (!(error instanceof Fault)) throw error;
    this.#failed++;
    const attempts = isLast ? ATTEMPTS : isReached() ? ATTEMPTS_BEFORE_NEXT : 1;
    if (!error.passes || this.#failed >= attempts || (error.isUnreached && !isReached())) throw error;
    // Many who were refused at once don't come back at once.
    const backoff = Math.min(delay * 2 ** (this.#failed - 1), LONGEST_DELAY) * (0.75 + Math.random() / 2);
    const wait = error.retryAfter ?? backoff;
    onRetry?.(error.failure, wait);
    await sleep(wait, undefined, { signal }).catch(() => signal.throwIfAborted());
  }

  /** Of what came whole, and is wrong: it is fetched once more, and then that is the end. */
  wrong(error: Fault): void {
    if (++this.#wrong >= CONTENTS) throw error;
    this.#options.onRetry?.(error.failure, 0);
  }
}
