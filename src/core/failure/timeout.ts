import { Failure } from "./failure.js";

/**
 * Runs an operation with a signal that is aborted when one of `signals` is, or after the timeout.
 * @param timeout in ms
 * @param late what the signal's reason says after the timeout
 */
export async function withTimeout<T>(
  signals: AbortSignal[],
  timeout: number,
  late: "start-timeout" | "update-timeout" | "answer-timeout",
  operation: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const abandon = () => controller.abort(new Failure("deadline-exceeded", late, { timeout }));
  const timer = setTimeout(abandon, timeout);
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

/** A signal, and how long in ms an operation may go on after it was aborted. */
export type GracePeriod = readonly [signal: AbortSignal, grace: number];

/** Runs an operation with a signal that is aborted when a grace period is over, which begins when its own signal is aborted. */
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
