import { duration } from "../options/duration.js";
import { type Checks, that } from "../options/option-checks.js";

/** What every call takes. */
export interface CallOptions {
  /** Ends the call; the promise rejects with the signal's reason. A start that is ended leaves nothing behind. */
  signal?: AbortSignal | undefined;
  /** Milliseconds until the call fails with `DEADLINE_EXCEEDED`. Without it, or with Infinity, a call may take as long as it takes. */
  timeout?: number | undefined;
}

/** Also one of another library. */
export const signalCheck = that(
  "an AbortSignal",
  (value) => value instanceof AbortSignal || Object.prototype.toString.call(value) === "[object AbortSignal]",
);

export const callChecks: Checks<CallOptions> = { signal: signalCheck, timeout: duration };
