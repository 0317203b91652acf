import { existsSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { type RuntimeCause, runtimeCause } from "../../contract/runtime-words.js";
import { ContainerdError, type ErrorCode, type ErrorKind } from "./containerd-error.js";

/** What a call was about, as far as it explains its failure. */
export interface Attempt {
  containerId: string;
  /** "init", or the name of a process that is executed. */
  name: string;
  /** Absolute. */
  bundle?: string | undefined;
  /** As given. */
  rootfs?: string | undefined;
  /** The path of a network namespace, as given. */
  network?: string | undefined;
  /** Folder of the FIFOs. */
  stdioDir?: string | undefined;
  /** The name of the option that is the working directory. Default: "cwd", that of `client.v0`. */
  workdirOption?: "workdir";
}

const ELSEWHERE =
  "the daemon has other mounts than this program (PrivateTmp= in its unit? a container?) or runs on another machine";

/** What to do about it. */
const ADVICE: Record<RuntimeCause, (attempt: Attempt) => string> = {
  "command-not-found": () =>
    "the command is looked up in the container: in its root file system, on the PATH of its env, unless it begins with a slash",
  "bad-mount": () =>
    "a mount's source must be there on the daemon's machine, and a file goes onto a file, a folder onto a folder",
  "bad-rootfs": ({ rootfs }) => {
    if (rootfs === undefined) return "root.path in the bundle's config.json must be a folder";
    if (isFolder(rootfs)) return `this program sees the folder ${resolve(rootfs)}: ${ELSEWHERE}`;
    return `rootfs must be a folder with a root file system, and ${resolve(rootfs)} is none`;
  },
  "bad-network": () => "network.path must be a network namespace on the daemon's machine",
  "bad-limit": () => "a limit must leave room for what the container uses (at its start: some 4 MiB of memory)",
  "bad-cwd": ({ workdirOption = "cwd" }) =>
    `${workdirOption} must be a folder in the container that its user may enter`,
  "not-executable": () => "the command must be a program that its user may execute: its mode, or its kind, is wrong",
  "runtime-not-found": () => "runtime must be a program on the PATH of the daemon, or a path there",
  "wrong-state": () => "pause() and resume() change it, state() tells it",
};

/** A failed start or change of a container, told by what its caller can do about it; any other error as it is. */
export function explainFailure(error: unknown, attempt: Attempt): unknown {
  if (!(error instanceof ContainerdError)) return error;
  const { message } = error;
  const { containerId, name, bundle, stdioDir } = attempt;
  const explained = (kind: ErrorKind, text: string, code: ErrorCode = error.code) =>
    new ContainerdError(code === "INTERNAL" || code === "UNKNOWN" ? "FAILED_PRECONDITION" : code, text, {
      cause: error,
      containerId,
      kind,
    });
  // What the engine says of names and ids that are taken needs no explanation.
  if (error.kind === "id-in-use" && attempt.workdirOption !== undefined) return error;
  if (error.kind === "id-in-use" || /^mkdir .*: file exists$/.test(message)) {
    const what =
      name === "init" ? `the id "${containerId}" is taken by a container` : `the name "${name}" is taken by a process`;
    return explained(
      "id-in-use",
      `${what} that is there: choose another, or end that one first (${message})`,
      "ALREADY_EXISTS",
    );
  }
  const missing = /^open (.*): no such file or directory$/.exec(message)?.[1];
  if (missing !== undefined && bundle !== undefined && missing === join(bundle, "config.json")) {
    if (existsSync(missing))
      return explained(
        "bundle-not-visible",
        `${message}; this program sees it: ${ELSEWHERE}; bundleDir and stdioDir name folders that both see`,
        "FAILED_PRECONDITION",
      );
    return explained(
      "bundle-not-found",
      `${message}; bundle must be a folder with config.json on the daemon's machine`,
    );
  }
  if (
    stdioDir !== undefined &&
    !isRuntimeCause(error.kind) &&
    message.includes(`${stdioDir}/`) &&
    /no such (?:file|device)/.test(message) &&
    existsSync(stdioDir)
  )
    return explained(
      "stdio-not-visible",
      `${message}; this program sees it: ${ELSEWHERE}; stdioDir names a folder that both see`,
      "FAILED_PRECONDITION",
    );
  // Only what the runtime or the shim says can have such a cause; the engine has found it out itself.
  const cause = error.code === "INTERNAL" && isRuntimeCause(error.kind) ? error.kind : causeOf(error, attempt);
  return cause ? explained(cause, `${message}; ${ADVICE[cause](attempt)}`) : error;
}

function isRuntimeCause(kind: ErrorKind): kind is RuntimeCause {
  return Object.hasOwn(ADVICE, kind);
}

function causeOf({ kind, message }: ContainerdError, { rootfs, network }: Attempt): RuntimeCause | undefined {
  return kind === "internal" ? runtimeCause(message, { rootfs: rootfs && resolve(rootfs), network }) : undefined;
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
