/** What every call takes. */
export interface CallOptions {
  /** Ends the call; the promise rejects with the signal's reason. A start that is ended leaves nothing behind. */
  signal?: AbortSignal | undefined;
  /** Milliseconds until the call fails with `DEADLINE_EXCEEDED`. Without it a call may take as long as it takes. */
  timeout?: number | undefined;
}
