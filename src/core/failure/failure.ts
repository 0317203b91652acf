import { goQuote } from "../../contract/go/quote.js";

/** What kind of failure an operation ended with. Each front has a code of its protocol for each. */
export type FailureKind =
  | "already-exists"
  | "cancelled"
  | "deadline-exceeded"
  | "failed-precondition"
  | "internal"
  | "invalid-argument"
  | "not-found"
  | "permission-denied"
  | "out-of-range"
  | "resource-exhausted"
  | "unauthenticated"
  | "unavailable"
  | "unimplemented";

type NoFacts = Record<string, never>;

interface RecordName {
  record: "container" | "image" | "namespace" | "lease";
  name: string;
  namespace?: string;
  /** What was wanted of it, beyond looking at it. */
  change?: "update" | "delete" | undefined;
}

/**
 * What can fail, with the facts that are known of it, in a plain sentence for the log. The words that a client gets are those of its front.
 */
const sentences = {
  "call-cancelled": (_: NoFacts) => "the caller has cancelled the call",
  "call-too-late": (_: NoFacts) => "the caller's deadline is over",
  "daemon-stops": (_: NoFacts) => "the daemon stops",
  /** What is asked for is refused, in words of its own; `about`: for what the container is to be made of, or its time to live. */
  refused: ({ why }: { why: string; about?: "rootfs" | "image" | "ttl" | undefined }) => why,
  "missing-value": ({ name }: { name: string }) => `${name} cannot be empty`,
  "invalid-value": ({ name, value, why }: { name: string; value: string; why: string }) =>
    `invalid ${name} ${JSON.stringify(value)}: ${why}`,

  "container-not-found": ({ id }: { id: string }) => `no container ${JSON.stringify(id)}`,
  "process-not-found": ({ id, pid }: { id: string; pid: string }) =>
    `no process ${JSON.stringify(pid)} in container ${JSON.stringify(id)}`,
  "task-runs": ({ id, status }: { id: string; status: string }) => `container ${JSON.stringify(id)} is ${status}`,
  "task-not-running": ({ id, status }: { id: string; status: string }) =>
    `container ${JSON.stringify(id)} does not run: it is ${status}`,
  "process-runs": ({ id, pid }: { id: string; pid: string }) =>
    `process ${JSON.stringify(pid)} in container ${JSON.stringify(id)} runs`,
  "already-started": ({ pid, status }: { pid: string; status: string }) =>
    `process ${JSON.stringify(pid)} was started already: it is ${status}`,
  /** Another daemon works in the directory where the tasks of namespaces are. */
  "run-directory-taken": ({ directory, why }: { directory: string; why: string }) =>
    `no tasks in namespaces: ${directory} ${why}; --run-dir names another directory`,
  "process-not-created": ({ id, pid }: { id: string; pid: string }) =>
    `process ${JSON.stringify(pid)} in container ${JSON.stringify(id)} was not started`,
  "process-ended": ({ pid }: { pid: string }) => `process ${JSON.stringify(pid)} has ended`,
  /** The directory of that name is there. */
  "name-taken": ({ what, path }: { what: "container" | "process" | "checkpoint"; path: string }) =>
    `the name of the ${what} is taken: ${path} exists`,
  "invalid-signal": ({ signal }: { signal: number }) => `no signal has the number ${signal}`,
  /** Of the metadata: a container, an image, a namespace, a lease. */
  "no-record": ({ record, name, namespace }: RecordName) =>
    `no ${record} ${JSON.stringify(name)}${namespace === undefined ? "" : ` in namespace ${JSON.stringify(namespace)}`}`,
  "record-exists": ({ record, name }: RecordName) => `there is a ${record} ${JSON.stringify(name)}`,
  "namespace-not-empty": ({ name, left }: { name: string; left: readonly string[] }) =>
    `namespace ${JSON.stringify(name)} still has ${left.join(", ")}`,
  "metadata-unusable": ({ directory, why }: { directory: string; why: string }) => `metadata in ${directory}: ${why}`,
  "metadata-unwritten": ({ directory, why }: { directory: string; why: string }) =>
    `metadata in ${directory} can't be written: ${why}`,
  /** An archive that is no layer; `entry` is the name of the one that is wrong. */
  "bad-layer": ({ layer, entry, why }: { layer: string; entry?: string | undefined; why: string }) =>
    `layer ${layer}: ${entry === undefined ? "" : `entry ${JSON.stringify(entry)}: `}${why}`,
  "layer-unfinished": ({ layer, why }: { layer: string; why: string }) => `layer ${layer}: ${why}`,
  "bad-diff": ({ path, why }: { path: string; why: string }) => `${path}: ${why}`,
  /** An archive that can't be put into a container; `entry` is the name of the one that is wrong. */
  "bad-archive": ({ path, entry, why }: { path: string; entry?: string | undefined; why: string }) =>
    `${path}: the archive${entry === undefined ? "" : `, entry ${JSON.stringify(entry)}`}: ${why}`,
  /** Files in a container. */
  "container-files": ({ path, why }: { path: string; why: string }) => `${path}: ${why}`,
  "no-snapshot": ({ name }: { name: string }) => `no snapshot ${JSON.stringify(name)}`,
  "no-parent-snapshot": ({ name }: { name: string }) => `no snapshot ${JSON.stringify(name)} to put another on`,
  "snapshot-exists": ({ name }: { name: string }) => `there is a snapshot ${JSON.stringify(name)}`,
  "snapshot-has-children": ({ name }: { name: string }) => `snapshot ${JSON.stringify(name)} has others on it`,
  "snapshot-not-active": ({ name }: { name: string }) => `snapshot ${JSON.stringify(name)} is not active`,
  "snapshot-not-mountable": ({ name }: { name: string }) =>
    `snapshot ${JSON.stringify(name)} is neither active nor a view`,
  "no-layer-file": ({ key }: { key: string }) => `no layer file ${key}`,
  "layer-not-mounted": ({ path, why }: { path: string; why: string }) => `layer file ${path} can't be mounted: ${why}`,
  "no-snapshots": ({ directory, why }: { directory: string; why: string }) => `no snapshots in ${directory}: ${why}`,
  "no-content": ({ digest }: { digest: string }) => `no content ${digest}`,
  "content-exists": ({ digest }: { digest: string }) => `there is content ${digest}`,
  /** A blob that is being written, by its reference. */
  "no-ingest": ({ ref }: { ref: string }) => `no ingest ${JSON.stringify(ref)}`,
  /** `held`: in ms. */
  "ingest-locked": ({ ref, held }: { ref: string; held: number }) =>
    `ingest ${JSON.stringify(ref)} is being written, since ${held} ms`,
  "file-unwritten": ({ path, why }: { path: string; why: string }) => `${path} can't be written: ${why}`,
  "limit-not-set": ({ why }: { why: string }) => why,

  /** A call of the kernel. */
  system: ({ why }: { why: string }) => why,
  "disk-full": (_: NoFacts) => "no space left on device",
  "file-system-silent": ({ path, timeout }: { path: string; timeout: number }) =>
    `${path}: no answer from its file system within ${timeout} ms`,
  /** `where`: `:<line>:<column>` where the text is no JSON, or empty. */
  "invalid-config": ({ path, where, why }: { path: string; where: string; why: string }) => `${path}${where}: ${why}`,
  "untrusted-checkpoints": ({ directory, why }: { directory: string; why: string }) =>
    `checkpoint directory ${directory}: ${why}`,

  /** `url` without what may be secret in one; `why` is the machine's word for it, or the registry's own. */
  "registry-failed": ({ url, why }: { url: string; why: string }) => `${url}: ${why}`,
  /** None of the hosts that a name may be had from has it to give. */
  "hosts-failed": ({ hosts }: { hosts: readonly { host: string; why: string }[] }) =>
    hosts.map(({ host, why }) => `${host}: ${why}`).join("; "),
  "wrong-digest": ({ url, expected, found }: { url: string; expected: string; found: string }) =>
    `${url}: what came is ${found}, not ${expected}`,
  "wrong-size": ({ url, expected, found }: { url: string; expected: number; found: string }) =>
    `${url}: ${found} bytes instead of ${expected}`,
  /** `key` is empty where it is about the whole file. */
  "invalid-file": ({ path, key, why }: { path: string; key: string; why: string }) =>
    `${path}: ${key === "" ? "" : `${key}: `}${why}`,
  /** A program that is asked for credentials. */
  "helper-failed": ({ program, host, why }: { program: string; host: string; why: string }) =>
    `${program} has no credentials of ${host} to give: ${why}`,

  "mount-failed": ({ mount, why }: { mount: string; why: string }) =>
    `failed to mount rootfs component ${mount}: ${why}`,
  "mount-timeout": ({ mount, timeout }: { mount: string; timeout: number }) =>
    `failed to mount rootfs component ${mount}: not done within ${timeout} ms`,
  "runtime-not-found": ({ runtime, why }: { runtime: string; why: NoRuntime }) => `runtime ${runtime}: ${why}`,
  /** `call` is the runtime's subcommand, `output` what it has printed. */
  "runtime-failed": ({ status, output }: { call: string; status: number; output: string }) =>
    `the runtime has ended with status ${status}: ${goQuote(output)}`,
  /** `text` is what the runtime has logged. */
  "runtime-error": ({ text }: { call: "create" | "exec"; text: string }) => `error of the runtime: ${text}`,
  "runtime-unreadable": ({ call, why }: { call: string; why: string }) => `${call}: ${why}`,
  "shim-not-found": ({ shim }: { shim: string }) => `shim ${shim}: not found`,
  /** `text` is what the shim has logged. */
  "shim-error": ({ text }: { text: string }) => `error of the shim: ${text}`,
  /** `text` is what the shim says of its runtime's end. */
  "shim-start-failed": ({ text }: { text: string }) => text,
  "shim-ended": (_: NoFacts) => "the shim has ended before its process was started",
  "start-unexplained": (_: NoFacts) => "the shim has ended before there was a process, and no log says why",
  "start-timeout": ({ timeout }: { timeout: number }) => `not started within ${timeout} ms`,
  "answer-timeout": ({ timeout }: { timeout: number }) => `no answer within ${timeout} ms`,
  "update-timeout": ({ timeout }: { timeout: number }) => `not changed within ${timeout} ms`,
};

/** Why a runtime can't be executed. */
export type NoRuntime = "not on the PATH" | "no such file" | "not executable";

export type What = keyof typeof sentences;
export type Facts<W extends What> = Parameters<(typeof sentences)[W]>[0];

/** An operation's failure. Its message is for the log; clients get what their front makes of the facts. */
export class Failure<W extends What = What> extends Error {
  readonly kind: FailureKind;
  readonly what: W;
  readonly facts: Facts<W>;

  constructor(kind: FailureKind, what: W, facts: Facts<W>, options?: ErrorOptions) {
    super((sentences[what] as (facts: Facts<W>) => string)(facts), options);
    this.name = "Failure";
    this.kind = kind;
    this.what = what;
    this.facts = facts;
  }
}

export function isFailure<W extends What>(error: unknown, what: W): error is Failure<W> {
  return error instanceof Failure && error.what === what;
}

/** For a request that can't be granted as it is, in the words of whoever refuses it. */
export function refusal(why: string, about?: Facts<"refused">["about"]): Failure {
  return new Failure("invalid-argument", "refused", { why, about });
}

/** For an id that no running container has. */
export function taskNotFound(id: string): Failure {
  return new Failure("not-found", "container-not-found", { id });
}
