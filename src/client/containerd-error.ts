import { type ServiceError, status } from "@grpc/grpc-js";

/** The gRPC status names an error's `code` can have. */
export type ErrorCode = Exclude<keyof typeof status, "OK">;

export interface ContainerdErrorOptions extends ErrorOptions {
  containerId?: string | undefined;
}

/**
 * What every failed call throws, unless the caller's AbortSignal ended it (then: the signal's reason).
 *
 * `message` is the daemon's own text. A daemon that cannot be reached is code `UNAVAILABLE`, a call that took longer
 * than its `timeout` is `DEADLINE_EXCEEDED`.
 *
 * @example
 * try {
 *   await client.containers.get("web");
 * } catch (error) {
 *   if (error instanceof ContainerdError && error.isNotFound) console.log("no such container");
 * }
 */
export class ContainerdError extends Error {
  override name = "ContainerdError";
  readonly code: ErrorCode;
  /** The container the call was about, where it was about one. */
  readonly containerId: string | undefined;

  constructor(code: ErrorCode, message: string, options: ContainerdErrorOptions = {}) {
    super(message, options);
    this.code = code;
    this.containerId = options.containerId;
  }

  /** No such container, process or checkpoint. The original daemon has no code for it, only words. */
  get isNotFound(): boolean {
    return (
      this.code === "NOT_FOUND" || /^containerd: (container|process) not found|^no such containers/.test(this.message)
    );
  }
}

/** What grpc-js reports, as an error of ours. */
export function fromServiceError(error: ServiceError, containerId?: string): ContainerdError {
  const code = (status[error.code] ?? "UNKNOWN") as ErrorCode;
  return new ContainerdError(code, error.details || error.message, { containerId });
}
