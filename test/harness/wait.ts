/** Waiting for something that nobody announces. */
import { setTimeout as sleep } from "node:timers/promises";

/**
 * How long, in ms, something is waited for that has to come: no measure of anything, only the end of a test that would hang. It is far
 * above what the busiest machine takes. A test that something comes soon compares it with what is done beside it.
 */
export const PATIENCE = 90_000;

/** Resolves after the given number of milliseconds. */
export { sleep };

/** In ms: how long `eventually` waits between two looks, at first and at most. */
const PAUSE = { first: 10, longest: 50 };

/**
 * Calls `check` until it neither throws nor answers `undefined` or `false`, and answers what it answered. When the time (ms)
 * is up, the last error is thrown, or one that names `what`. Without an `interval` (ms) it looks less often the longer it takes: looking
 * costs what the awaited thing needs.
 */
export async function eventually<T>(
  check: () => T | Promise<T>,
  { timeout = PATIENCE, interval, what = "the condition" }: { timeout?: number; interval?: number; what?: string } = {},
): Promise<Exclude<T, undefined | false>> {
  const end = performance.now() + timeout;
  for (let pause = interval ?? PAUSE.first; ; pause = interval ?? Math.min(pause * 1.1, PAUSE.longest)) {
    let failure: unknown;
    try {
      const value = await check();
      if (value !== undefined && value !== false) return value as Exclude<T, undefined | false>;
    } catch (error) {
      failure = error;
    }
    if (performance.now() >= end) throw failure ?? new Error(`${what} did not come about within ${timeout} ms`);
    await sleep(pause);
  }
}

/**
 * Calls `run` with a time in ms after which the product ends it, longer ones each time, until it `hadBegun` when it was ended: on a quiet
 * machine that is the first one.
 */
export async function endedInTime<T>(
  run: (timeout: number) => Promise<T>,
  hadBegun: (outcome: T) => boolean,
): Promise<T> {
  for (let timeout = 500; ; timeout *= 3) {
    const outcome = await run(timeout);
    if (hadBegun(outcome) || timeout > PATIENCE) return outcome;
  }
}

/** Rejects with an error that names `what` when `promise` is not settled within `timeout` ms. */
export async function within<T>(promise: Promise<T>, what: string, timeout = PATIENCE): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come within ${timeout} ms`)), timeout);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
