import { ContainerdError } from "../errors/containerd-error.js";
import { pause } from "../options/duration.js";

const FIRST_PAUSE = 20;
const MAX_PAUSE = 500;

/** The pauses between tries to reach a daemon whose connection was lost, and when to give up. */
export class Retries {
  readonly #giveUp: number;
  #pause = FIRST_PAUSE;

  /** @param patience milliseconds; default: for ever. */
  constructor(patience = Number.POSITIVE_INFINITY) {
    this.#giveUp = performance.now() + patience;
  }

  /** Waits for the next try. @throws `error` when there shall be none, the signal's reason when it aborts. */
  async pause(error: unknown, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (performance.now() + this.#pause > this.#giveUp) throw error;
    await pause(this.#pause, signal);
    this.#pause = Math.min(this.#pause * 2, MAX_PAUSE);
  }
}

/** The daemon cannot be reached, or went away during the call. */
export function isLost(error: unknown): boolean {
  if (!(error instanceof ContainerdError)) return false;
  const { code, message } = error;
  return (
    code === "UNAVAILABLE" || code === "CANCELLED" || (code === "INTERNAL" && message.startsWith("Received RST_STREAM"))
  );
}

/** Makes a call again as long as the daemon is away. Only for calls that may arrive twice. */
export async function whileLost<T>(call: () => Promise<T>, patience?: number, signal?: AbortSignal): Promise<T> {
  for (const retries = new Retries(patience); ; ) {
    try {
      return await call();
    } catch (error) {
      if (!isLost(error)) throw error;
      await retries.pause(error, signal);
    }
  }
}
