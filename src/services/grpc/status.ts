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

/**
 * The gRPC status of a failed operation.
 * @param details the words of the API for it
 * @param code the API's own for it
 */
export function serviceError(error: unknown, details: string, code = codeOf(error)): ServiceError {
  return Object.assign(new Error(details), { code, details, metadata: new Metadata() });
}

function codeOf(error: unknown): status {
  if (error instanceof Failure) return codes[error.kind];
  if (hasCode(error, "ENOENT")) return status.NOT_FOUND;
  if (hasCode(error, "EEXIST")) return status.ALREADY_EXISTS;
  if (hasCode(error, "ENOSPC") || hasCode(error, "EMFILE") || hasCode(error, "ENFILE"))
    return status.RESOURCE_EXHAUSTED;
  return status.INTERNAL;
}
