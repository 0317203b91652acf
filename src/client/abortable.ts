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
  { signal, timeout }: CallOptions,
  late: () => Error,
): Promise<T> {
  if (timeout === undefined) return work(signal);
  const ended = new AbortController();
  const abort = () => ended.abort(signal!.reason);
  signal?.throwIfAborted();
  signal?.addEventListener("abort", abort, { once: true });
  const stopTimer = startTimer(timeout, () => ended.abort(late()));
  try {
    return await work(ended.signal);
  } finally {
    stopTimer();
    signal?.removeEventListener("abort", abort);
  }
}
