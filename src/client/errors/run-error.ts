import { ContainerdError } from "./containerd-error.js";

/** What a process had printed, and used, by the time that it was ended. */
export interface PartialRun {
  stdout: string | Buffer;
  stderr: string | Buffer;
  /** Milliseconds from its start to its end. */
  duration: number;
}

/**
 * A run or an exec that was ended for what it did: it took too long (`DEADLINE_EXCEEDED`), printed too much (`RESOURCE_EXHAUSTED`), or the
 * time to live of its container was over (`DEADLINE_EXCEEDED`).
 */
export class RunError extends ContainerdError {
  override name = "RunError";
  readonly reason: "timeout" | "output" | "expired";
  /** What it had printed: text, or bytes with `encoding: "buffer"`. */
  readonly stdout: string | Buffer;
  readonly stderr: string | Buffer;
  /** Milliseconds from its start to its end. */
  readonly duration: number;

  constructor(reason: RunError["reason"], message: string, containerId: string, partial: PartialRun) {
    super(reason === "output" ? "RESOURCE_EXHAUSTED" : "DEADLINE_EXCEEDED", message, { containerId, kind: reason });
    this.reason = reason;
    this.stdout = partial.stdout;
    this.stderr = partial.stderr;
    this.duration = partial.duration;
  }

  /** Whether it took too long. */
  get timedOut(): boolean {
    return this.reason === "timeout";
  }
}
