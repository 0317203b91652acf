import type { CallOptions } from "./api/call-options.js";
import { startTimer } from "./options/duration.js";

/** The promise's result, unless the signal aborts first: then its reason is thrown. */
export async function abortable<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  // After an abort nothing handles its rejection any more.
  promise.catch(() => {});
  signal.throwIfAborted();
  let aborted!: () => void;
  const abort = new Promise<never>((_, reject) => {
    aborted = () => reject(signal.reason);
    signal.addEventListener("abort", aborted, { once: true });
  });
  try {
    return await Promise.race([promise, abort]);
  } finally {
    signal.removeEventListener("abort", aborted);
  }
}

/** What `work` resolves with, unless the timeout is over first: then its signal aborts, with this error as its reason. */
export async function withTimeout<T>(
  work: (signal: AbortSignal | undefined) => Promise<T>,
  options: CallOptions,
  late: () => Error,
): Promise<T> {
  if (options.timeout === undefined) return work(options.signal);
  const { signal, forget } = limitedBy(options, late);
  try {
    return await work(signal);
  } finally {
    forget();
  }
}

/**
 * A signal that aborts with the caller's, or when the timeout is over, with `late` as its reason; `forget` lets go of both.
 * @throws the caller's signal's reason
 */
export function limitedBy(
  { signal, timeout = Number.POSITIVE_INFINITY }: CallOptions,
  late: () => Error,
): { signal: AbortSignal; forget(): void } {
  signal?.throwIfAborted();
  const ended = new AbortController();
  const abort = () => ended.abort(signal!.reason);
  signal?.addEventListener("abort", abort, { once: true });
  const stopTimer = startTimer(timeout, () => ended.abort(late()));
  const forget = () => {
    stopTimer();
    signal?.removeEventListener("abort", abort);
  };
  return { signal: ended.signal, forget };
}
