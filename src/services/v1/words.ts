import { basename } from "node:path";
import { status } from "@grpc/grpc-js";
import { goQuote } from "../../contract/go/quote.js";
import { type Facts, Failure, type FailureKind, type What } from "../../core/failure/failure.js";
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
  unimplemented: "not implemented",
};

/** Of failures that containerd 1.x knows by other words than ours, which some clients look for. */
const WORDS: { readonly [W in What]?: (facts: Facts<W>) => string } = {
  "container-not-found": ({ id }) => `task ${id} not found`,
  "process-not-found": ({ pid }) => `process does not exist ${pid}`,
  "process-ended": () => "process already finished",
  "name-taken": ({ what, path }) => `${what === "container" ? "task" : what} ${basename(path)}`,
  "task-runs": () => "cannot delete a running process",
  "process-runs": () => "cannot delete a running process",
  "already-started": ({ pid }) => `cannot start ${pid}: it was started before`,
  "no-record": ({ record, name, namespace, change }) =>
    `${change === undefined ? "" : `cannot ${change} `}${record} ${goQuote(name)}` +
    (namespace === undefined ? "" : ` in namespace ${goQuote(namespace)}`),
  "record-exists": ({ record, name }) => `${record} ${goQuote(name)}`,
  "namespace-not-empty": ({ name, left }) =>
    `namespace ${goQuote(name)} must be empty, but it still has ${left.join(", ")}`,
};

/** What a client of 1.x is told of an error: what has failed, then of which kind that is. */
export function wordsOf(error: unknown): string {
  if (!(error instanceof Failure)) return `${errorText(error)}: ${SUFFIXES.internal}`;
  const of = WORDS[error.what as What] as ((facts: unknown) => string) | undefined;
  return `${of?.(error.facts) ?? error.message}: ${SUFFIXES[error.kind]}`;
}

/** A failure whose kind nobody knows has a code of its own in 1.x. */
export function codeOf(error: unknown): status | undefined {
  return error instanceof Failure && error.kind === "internal" ? status.UNKNOWN : undefined;
}
