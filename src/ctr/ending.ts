import { constants } from "node:os";

const ENDING_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"] as const;

/** This process was told to end by a signal. */
export class Interrupted extends Error {
  override name = "Interrupted";
  /** What a shell reports for it. */
  readonly exitCode: number;

  constructor(signal: NodeJS.Signals) {
    super(`interrupted by ${signal}`);
    this.exitCode = 128 + constants.signals[signal];
  }
}

/** An error, its cause, that is told as any other, and the exit status that stands for it. */
export class ExitStatusError extends Error {
  override readonly cause: Error;
  readonly status: number;

  constructor(cause: Error, status: number) {
    super(cause.message);
    this.cause = cause;
    this.status = status;
  }
}

/**
 * Runs something that has things to put back before the process may end: while it runs, a signal that would end the
 * process aborts it instead, with {@link Interrupted} as the reason.
 */
export async function endingWell<T>(run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const handlers = ENDING_SIGNALS.map((signal) => {
    const handler = () => controller.abort(new Interrupted(signal));
    process.on(signal, handler);
    return () => process.off(signal, handler);
  });
  try {
    return await run(controller.signal);
  } finally {
    for (const remove of handlers) remove();
  }
}
