import { status } from "@grpc/grpc-js";
import { Failure, type FailureKind } from "../../core/failure/failure.js";
import { errorText } from "../../system/linux/libc.js";

/** What containerd 1.x puts at the end of an error's text for each kind: some clients look for it. */
const SUFFIXES: Record<FailureKind, string> = {
  "already-exists": "already exists",
  cancelled: "context canceled",
  "deadline-exceeded": "context deadline exceeded",
  "failed-precondition": "failed precondition",
  internal: "unknown",
  "invalid-argument": "invalid argument",
  "not-found": "not found",
  "resource-exhausted": "resource exhausted",
  unavailable: "unavailable",
};

/** What a client of 1.x is told of an error: what has failed, then of which kind that is. */
export function wordsOf(error: unknown): string {
  if (!(error instanceof Failure)) return `${errorText(error)}: ${SUFFIXES.internal}`;
  return `${error.message}: ${SUFFIXES[error.kind]}`;
}

/** A failure whose kind nobody knows has a code of its own in 1.x. */
export function codeOf(error: unknown): status | undefined {
  return error instanceof Failure && error.kind === "internal" ? status.UNKNOWN : undefined;
}
