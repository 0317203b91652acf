import { goQuote } from "../../contract/go/quote.js";
import { type Facts, Failure, type NoRuntime, type What } from "../../core/failure/failure.js";
import { errorText } from "../../system/linux/libc.js";

/** In Go's words, as the original has them. */
const noRuntime: Record<NoRuntime, (runtime: string) => string> = {
  "not on the PATH": (runtime) => `${runtime} not installed on system`,
  "no such file": (runtime) => `fork/exec ${runtime}: no such file or directory`,
  "not executable": (runtime) => `fork/exec ${runtime}: permission denied`,
};

/** Of failures that the original knows: old clients look for these words. The others are told in plain sentences. */
const words: { readonly [W in What]?: (facts: Facts<W>) => string } = {
  "call-cancelled": () => "context canceled",
  "call-too-late": () => "context deadline exceeded",
  "missing-value": ({ name }) => (name === "bundle path" ? "empty bundle path" : `${name} cannot be empty`),
  "container-not-found": () => "containerd: container not found",
  "process-not-found": () => "containerd: process not found for container",
  // It is one that is just being started.
  "process-not-created": () => "containerd: process not found for container",
  "process-ended": () => "no such process",
  "name-taken": ({ path }) => `mkdir ${path}: file exists`,
  "invalid-signal": () => "invalid argument",
  "disk-full": () => "no space left on device",
  "runtime-not-found": ({ runtime, why }) => noRuntime[why](runtime),
  "runtime-failed": ({ status, output }) => `exit status ${status}: ${goQuote(output)}`,
  "runtime-error": ({ text }) => `oci runtime error: ${text}`,
  "shim-not-found": ({ shim }) => `${shim} not installed on system`,
  "shim-error": ({ text }) => `shim error: ${text}`,
  "shim-ended": () => "containerd: shim exited before container process was started",
  "start-unexplained": () => "containerd: container not started",
  "start-timeout": () => "containerd: container did not start before the specified timeout",
  "update-timeout": () => "containerd: container did not change before the specified timeout",
};

/** What a client of 0.2 is told of an error. */
export function wordsOf(error: unknown): string {
  if (!(error instanceof Failure)) return errorText(error);
  const of = words[error.what as What] as ((facts: unknown) => string) | undefined;
  return of?.(error.facts) ?? error.message;
}
