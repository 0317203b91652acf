import { type ServiceError, status } from "@grpc/grpc-js";
import { ERROR_KIND } from "../../contract/error-kind-trailer.js";

/** The gRPC status names an error's `code` can have. */
export type ErrorCode = Exclude<keyof typeof status, "OK">;

/** What has gone wrong, in terms of what can be done about it. */
export type ErrorKind =
  /** No such container, process or checkpoint. */
  | "not-found"
  /** The container's id, or the process's name, is taken. */
  | "id-in-use"
  /** There is no such command in the container. */
  | "command-not-found"
  /** The command is there, but is no program, or not for this user. */
  | "not-executable"
  /** The working directory is none. */
  | "bad-cwd"
  /** The root file system is none. */
  | "bad-rootfs"
  /** What is to be mounted is not there, or not where it is to be mounted. */
  | "bad-mount"
  /** The network namespace is none. */
  | "bad-network"
  /** The kernel refuses a limit. */
  | "bad-limit"
  /** There is no bundle at this path. */
  | "bundle-not-found"
  /** This program sees the bundle, the daemon does not: it has other mounts, or runs on another machine. */
  | "bundle-not-visible"
  /** The same for the folder of the FIFOs. */
  | "stdio-not-visible"
  /** The daemon does not find the runtime. */
  | "runtime-not-found"
  /** The container is paused, or is not, or has ended. */
  | "wrong-state"
  /** A registry wants to know who asks, or does not let them. */
  | "denied"
  /** The daemon refuses what was asked for. */
  | "refused"
  /** There is no daemon at the address, or it has gone away. */
  | "unreachable"
  /** Something answers at the address, but no containerd 0.2. */
  | "wrong-daemon"
  /** It took longer than it was given. */
  | "timeout"
  /** There was more output than allowed. */
  | "output"
  /** The time to live of the container was over: it is gone. */
  | "expired"
  /** Something has run out: disk, descriptors, room for events. */
  | "exhausted"
  /** The client has been closed, or the call was ended on the daemon's side. */
  | "closed"
  /** All else: the daemon's or the runtime's trouble. */
  | "internal";

export interface ContainerdErrorOptions extends ErrorOptions {
  containerId?: string | undefined;
  /** Default: what code and message say. */
  kind?: ErrorKind | undefined;
}

/** What a code says by itself. */
const KINDS: Partial<Record<ErrorCode, ErrorKind>> = {
  ALREADY_EXISTS: "id-in-use",
  CANCELLED: "closed",
  DEADLINE_EXCEEDED: "timeout",
  FAILED_PRECONDITION: "wrong-state",
  INVALID_ARGUMENT: "refused",
  NOT_FOUND: "not-found",
  PERMISSION_DENIED: "denied",
  RESOURCE_EXHAUSTED: "exhausted",
  UNAVAILABLE: "unreachable",
  UNAUTHENTICATED: "denied",
  UNIMPLEMENTED: "wrong-daemon",
};

/** Those that the engine tells itself; it has more to say than a code. */
const TOLD_KINDS = [
  ...(["not-found", "id-in-use", "command-not-found", "not-executable", "bad-cwd", "bad-rootfs", "bad-mount"] as const),
  ...(["bad-network", "bad-limit", "runtime-not-found", "wrong-state", "denied", "refused"] as const),
  ...(["timeout", "expired", "exhausted", "closed", "internal"] as const),
] satisfies ErrorKind[];

/**
 * What every failed call throws, unless the caller's AbortSignal ended it (then: the signal's reason).
 *
 * `kind` says what has gone wrong, `message` has the daemon's own words and, where something can be done about it, what. `code` is
 * the gRPC status: `UNAVAILABLE` for a daemon that cannot be reached, `DEADLINE_EXCEEDED` for a call that took longer than its
 * `timeout`.
 *
 * @example
 * try {
 *   await client.v0.containers.get("web");
 * } catch (error) {
 *   if (error instanceof ContainerdError && error.isNotFound) console.log("no such container");
 * }
 */
export class ContainerdError extends Error {
  override name = "ContainerdError";
  readonly code: ErrorCode;
  readonly kind: ErrorKind;
  /** The container the call was about, where it was about one. */
  readonly containerId: string | undefined;

  constructor(code: ErrorCode, message: string, options: ContainerdErrorOptions = {}) {
    const { containerId, kind, ...rest } = options;
    super(message, rest);
    this.code = code;
    this.kind = kind ?? (saysNotFound(message) ? "not-found" : (KINDS[code] ?? "internal"));
    this.containerId = containerId;
  }

  /** No such container, process or checkpoint. */
  get isNotFound(): boolean {
    return this.kind === "not-found" || (this.kind === "expired" && this.code === "NOT_FOUND");
  }
}

/** The original daemon has no code for it, only words. */
function saysNotFound(message: string): boolean {
  return /^containerd: (container|process) not found|^no such containers/.test(message);
}

/** Errors of which the daemon itself has told that there is no such image. */
const aboutImages = new WeakSet<ContainerdError>();

/** Whether it is a missing image that a call has failed for. */
export function isImageMissing(error: unknown): boolean {
  return error instanceof ContainerdError && aboutImages.has(error);
}

/** What grpc-js reports, as an error of ours. */
export function fromServiceError(error: ServiceError, containerId?: string): ContainerdError {
  const code = (status[error.code] ?? "UNKNOWN") as ErrorCode;
  const told = String(error.metadata?.get(ERROR_KIND)[0] ?? "");
  const kind = told === "image-not-found" ? "not-found" : TOLD_KINDS.find((kind) => kind === told);
  const ours = new ContainerdError(code, error.details || error.message, { containerId, kind });
  if (told === "image-not-found") aboutImages.add(ours);
  return ours;
}
