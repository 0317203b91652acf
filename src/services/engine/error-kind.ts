import { runtimeCause } from "../../contract/runtime-words.js";
import { Failure, type FailureKind, isFailure } from "../../core/failure/failure.js";
import { hasCode } from "../../system/linux/libc.js";

/** What kinds of failures are called where nothing more is known. */
const KINDS: Record<FailureKind, string> = {
  "already-exists": "id-in-use",
  cancelled: "closed",
  "deadline-exceeded": "timeout",
  "failed-precondition": "wrong-state",
  internal: "internal",
  "invalid-argument": "refused",
  "not-found": "not-found",
  "out-of-range": "refused",
  "permission-denied": "denied",
  "resource-exhausted": "exhausted",
  unauthenticated: "denied",
  unavailable: "unavailable",
  unimplemented: "refused",
};

/** What has gone wrong, in terms of what can be done about it: programs need not look for words in the message. */
export function errorKind(error: unknown): string {
  if (["ENOSPC", "EDQUOT", "EMFILE", "ENFILE"].some((code) => hasCode(error, code))) return "exhausted";
  if (!(error instanceof Failure))
    return hasCode(error, "ENOENT") ? "not-found" : hasCode(error, "EEXIST") ? "id-in-use" : "internal";
  if (isFailure(error, "no-record") && error.facts.record === "image") return "image-not-found";
  if (isFailure(error, "runtime-not-found")) return "runtime-not-found";
  if (isFailure(error, "limit-not-set")) return "bad-limit";
  if (isFailure(error, "refused") && error.facts.about !== undefined) return ABOUT[error.facts.about];
  if (isFailure(error, "invalid-value") && error.kind === "invalid-argument") return ofOption(error.facts.name);
  if (error.kind === "internal") return runtimeCause(error.message, {}) ?? "internal";
  return KINDS[error.kind];
}

const ABOUT = { rootfs: "bad-rootfs", image: "image-not-found", ttl: "expired" } as const;

function ofOption(name: string): string {
  return /^mounts\[\d+\]\.source$/.test(name) ? "bad-mount" : "refused";
}
