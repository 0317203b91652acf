import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { type FailureKind, OperationError } from "../../core/failure/operation-error.js";
import { errorText, hasCode } from "../../system/linux/libc.js";

const codes: Record<FailureKind, status> = {
  "already-exists": status.ALREADY_EXISTS,
  cancelled: status.CANCELLED,
  "deadline-exceeded": status.DEADLINE_EXCEEDED,
  "failed-precondition": status.FAILED_PRECONDITION,
  internal: status.INTERNAL,
  "invalid-argument": status.INVALID_ARGUMENT,
  "not-found": status.NOT_FOUND,
  unavailable: status.UNAVAILABLE,
};

/** The gRPC status of a failed operation. The message is the operation's own: old clients match on its words. */
export function serviceError(error: unknown): ServiceError {
  const details = errorText(error);
  return Object.assign(new Error(details), { code: codeOf(error), details, metadata: new Metadata() });
}

function codeOf(error: unknown): status {
  if (error instanceof OperationError) return codes[error.kind];
  if (hasCode(error, "ENOENT")) return status.NOT_FOUND;
  if (hasCode(error, "EEXIST")) return status.ALREADY_EXISTS;
  if (hasCode(error, "ENOSPC") || hasCode(error, "EMFILE") || hasCode(error, "ENFILE"))
    return status.RESOURCE_EXHAUSTED;
  return status.INTERNAL;
}
