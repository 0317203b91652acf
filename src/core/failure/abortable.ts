/** The promise's result, unless a signal is aborted first: then its reason is thrown, and what the promise is for goes on. */
export async function abortable<T>(promise: Promise<T>, ...signals: AbortSignal[]): Promise<T> {
  for (const signal of signals) signal.throwIfAborted();
  let aborted: (event: Event) => void = () => {};
  const abort = new Promise<never>((_, reject) => {
    aborted = ({ target }) => reject((target as AbortSignal).reason);
  });
  for (const signal of signals) signal.addEventListener("abort", aborted, { once: true });
  try {
    return await Promise.race([promise, abort]);
  } finally {
    for (const signal of signals) signal.removeEventListener("abort", aborted);
  }
}
