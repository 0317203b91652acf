import { basename } from "node:path";
import { status } from "@grpc/grpc-js";
import { goQuote } from "../../contract/go/quote.js";
import { type Facts, Failure, type FailureKind, type NoRuntime, type What } from "../../core/failure/failure.js";
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
  "permission-denied": "permission denied",
  "out-of-range": "out of range",
  "resource-exhausted": "resource exhausted",
  unauthenticated: "unauthenticated",
  unavailable: "unavailable",
  unimplemented: "not implemented",
};

/** In Go's words: dockerd chooses the exit code, 126 or 127, by them. */
const NO_RUNTIME: Record<NoRuntime, string> = {
  "not on the PATH": "executable file not found in $PATH",
  "no such file": "no such file or directory",
  "not executable": "permission denied",
};

const CREATE_FAILED = "failed to create shim task: OCI runtime create failed";

/** Of failures that containerd 1.x knows by other words than ours, which some clients look for. */
const WORDS: { readonly [W in What]?: (facts: Facts<W>) => string } = {
  "container-not-found": ({ id }) => `task ${id} not found`,
  "process-not-found": ({ pid }) => `process does not exist ${pid}`,
  "process-not-created": () => "process not created",
  "process-ended": () => "process already finished",
  "name-taken": ({ what, path }) => `${what === "container" ? "task" : what} ${basename(path)}`,
  "task-runs": ({ status }) => `cannot delete a ${status} process`,
  "process-runs": () => "cannot delete a running process",
  "already-started": ({ status }) => `cannot start a ${status} process`,
  "runtime-not-found": ({ runtime, why }) => `${CREATE_FAILED}: exec: ${goQuote(runtime)}: ${NO_RUNTIME[why]}`,
  "runtime-error": ({ call, text }) =>
    call === "create" ? `${CREATE_FAILED}: ${text}` : `OCI runtime ${call} failed: ${text}`,
  "runtime-failed": ({ call, status, output }) =>
    `OCI runtime ${call} failed: ${output.trim() || `exit status ${status}`}`,
  "shim-not-found": ({ shim }) => `failed to start shim: exec: ${goQuote(shim)}: executable file not found in $PATH`,
  "shim-error": ({ text }) => {
    const runtime = missingRuntime(text);
    return runtime === undefined ? `failed to create shim task: ${text}` : `${CREATE_FAILED}: exec: ${runtime}`;
  },
  "shim-start-failed": ({ text }) => `OCI runtime start failed: ${text}`,
  "shim-ended": () => `${CREATE_FAILED}: the shim has ended before its process was started`,
  "start-unexplained": () => `${CREATE_FAILED}: the runtime has ended and has not said why`,
  "no-record": ({ record, name, namespace, change }) =>
    `${change === undefined ? "" : `cannot ${change} `}${record} ${goQuote(name)}` +
    (namespace === undefined ? "" : ` in namespace ${goQuote(namespace)}`),
  "record-exists": ({ record, name }) => `${record} ${goQuote(name)}`,
  "no-snapshot": ({ name }) => `snapshot ${name} does not exist`,
  "no-parent-snapshot": ({ name }) => `parent snapshot ${name} does not exist`,
  "snapshot-exists": ({ name }) => `snapshot ${goQuote(name)}`,
  "snapshot-has-children": () => "cannot remove snapshot with child",
  "snapshot-not-active": ({ name }) => `failed to commit snapshot: snapshot ${goQuote(name)} is not active`,
  "snapshot-not-mountable": ({ name }) => `failed to get active mount: requested snapshot ${name} not active or view`,
  "no-content": ({ digest }) => `content digest ${digest}`,
  "content-exists": ({ digest }) => `content ${digest}`,
  "no-ingest": ({ ref }) => `reference ${ref}`,
  "ingest-locked": ({ ref, held }) => `ref ${ref} locked for ${held}ms`,
  "namespace-not-empty": ({ name, left }) =>
    `namespace ${goQuote(name)} must be empty, but it still has ${left.join(", ")}`,
};

/** What a shim that could not execute its runtime says, in the words of containerd 0.2's; undefined for all else. */
function missingRuntime(text: string): string | undefined {
  const name = /^(.*) not installed on system$/s.exec(text)?.[1];
  if (name !== undefined) return `${goQuote(name)}: ${NO_RUNTIME["not on the PATH"]}`;
  const [, path, why] = /^fork\/exec (.*): ([^:]*)$/s.exec(text) ?? [];
  return path === undefined ? undefined : `${goQuote(path)}: ${why}`;
}

/** What a client of 1.x is told of an error: what has failed, then of which kind that is. */
export function wordsOf(error: unknown): string {
  if (!(error instanceof Failure)) return `${errorText(error)}: ${SUFFIXES.internal}`;
  const of = WORDS[error.what as What] as ((facts: unknown) => string) | undefined;
  return `${of?.(error.facts) ?? error.message}: ${SUFFIXES[kindOf(error)]}`;
}

/** A failure whose kind nobody knows has a code of its own in 1.x. */
export function codeOf(error: unknown): status | undefined {
  return error instanceof Failure && kindOf(error) === "internal" ? status.UNKNOWN : undefined;
}

/** A start that fails for want of a program is not told from others: what is not found would be the container. */
function kindOf({ kind, what }: Failure): FailureKind {
  return what === "runtime-not-found" || what === "shim-not-found" ? "internal" : kind;
}
