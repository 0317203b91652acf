/**
 * Runs an operation with a signal that is aborted when one of `signals` is or when its time is over.
 * @param timeout in ms
 * @param late what is thrown when the time is over
 */
export async function withTimeout<T>(
  signals: AbortSignal[],
  timeout: number,
  late: () => Error,
  operation: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(late()), timeout);
  const abort = (event: Event) => controller.abort((event.target as AbortSignal).reason);
  for (const signal of signals) {
    if (signal.aborted) controller.abort(signal.reason);
    else signal.addEventListener("abort", abort);
  }
  try {
    return await operation(controller.signal);
  } finally {
    clearTimeout(timer);
    for (const signal of signals) signal.removeEventListener("abort", abort);
  }
}

/** A signal, and how long in ms an operation may go on when it is aborted. */
export type GracePeriod = readonly [signal: AbortSignal, grace: number];

/** Runs an operation with a signal that is aborted some time after one of `graces` is: it may end by itself until then. */
export async function withGrace<T>(
  graces: readonly GracePeriod[],
  operation: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const ends = graces.map(([signal, grace]) => {
    let timer: NodeJS.Timeout | undefined;
    const abort = () => {
      timer = setTimeout(() => controller.abort(signal.reason), grace);
    };
    signal.addEventListener("abort", abort);
    return () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
    };
  });
  try {
    return await operation(controller.signal);
  } finally {
    for (const end of ends) end();
  }
}
