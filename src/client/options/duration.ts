import { type Check, number } from "./option-checks.js";

/** Milliseconds, as every option and argument that is a duration takes them. Infinity: there is no such limit. */
export const duration: Check = number("a number of milliseconds, 0 or more, or Infinity", (ms) => ms >= 0);

/** As {@link duration}, where nothing at all makes no sense. */
export const positiveDuration: Check = number("a positive number of milliseconds, or Infinity", (ms) => ms > 0);

/** The longest time in ms that the timers of Node and of the gRPC library can wait, 24.8 days; what is longer fires at once. */
export const MAX_TIMER = 2 ** 31 - 1;

/**
 * Calls `done` when so many milliseconds are over, also after months; never after Infinity.
 *
 * @param keepsAlive whether the program waits for it before it ends by itself
 * @returns calls it off.
 */
export function startTimer(ms: number, done: () => void, keepsAlive = true): () => void {
  let timer: NodeJS.Timeout | undefined;
  const wait = (rest: number) => {
    timer = setTimeout(() => (rest > MAX_TIMER ? wait(rest - MAX_TIMER) : done()), Math.min(rest, MAX_TIMER));
    if (!keepsAlive) timer.unref();
  };
  if (ms !== Number.POSITIVE_INFINITY) wait(ms);
  return () => clearTimeout(timer);
}

/** Waits so many milliseconds. @throws the signal's reason */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  signal?.throwIfAborted();
  await new Promise<void>((resolve, reject) => {
    const aborted = () => {
      stop();
      reject(signal!.reason);
    };
    const stop = startTimer(ms, () => {
      signal?.removeEventListener("abort", aborted);
      resolve();
    });
    signal?.addEventListener("abort", aborted, { once: true });
  });
}

/** The moment after so many milliseconds, for gRPC; none when it is farther away than its timers reach. */
export function deadlineAfter(ms: number | undefined): { deadline?: number } {
  return ms === undefined || ms > MAX_TIMER ? {} : { deadline: Date.now() + ms };
}
