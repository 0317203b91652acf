import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { Failure, type FailureKind } from "../../core/failure/failure.js";
import { hasCode } from "../../system/linux/libc.js";

const codes: Record<FailureKind, status> = {
  "already-exists": status.ALREADY_EXISTS,
  cancelled: status.CANCELLED,
  "deadline-exceeded": status.DEADLINE_EXCEEDED,
  "failed-precondition": status.FAILED_PRECONDITION,
  internal: status.INTERNAL,
  "invalid-argument": status.INVALID_ARGUMENT,
  "not-found": status.NOT_FOUND,
  "permission-denied": status.PERMISSION_DENIED,
  "out-of-range": status.OUT_OF_RANGE,
  "resource-exhausted": status.RESOURCE_EXHAUSTED,
  unauthenticated: status.UNAUTHENTICATED,
  unavailable: status.UNAVAILABLE,
  unimplemented: status.UNIMPLEMENTED,
};

/** How an API tells of errors. */
export interface ErrorWords {
  /** The API's words for an error: the message of the status. */
  words(error: unknown): string;
  /** The status code for an error, where the API has another one than most. */
  code?(error: unknown): status | undefined;
  /** What else goes with the status, by name. */
  trailers?(error: unknown): Readonly<Record<string, string>>;
}

/** The gRPC status of a failed operation. */
export function serviceError(error: unknown, api: ErrorWords): ServiceError {
  const details = api.words(error);
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(api.trailers?.(error) ?? {})) metadata.set(name, value);
  return Object.assign(new Error(details), { code: api.code?.(error) ?? codeOf(error), details, metadata });
}

function codeOf(error: unknown): status {
  if (error instanceof Failure) return codes[error.kind];
  if (hasCode(error, "ENOENT")) return status.NOT_FOUND;
  if (hasCode(error, "EEXIST")) return status.ALREADY_EXISTS;
  if (hasCode(error, "ENOSPC") || hasCode(error, "EMFILE") || hasCode(error, "ENFILE"))
    return status.RESOURCE_EXHAUSTED;
  return status.INTERNAL;
}
