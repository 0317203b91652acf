import { existsSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
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

interface Cause {
  kind: ErrorKind;
  /** The words of the daemon, of runc or of crun. */
  words: RegExp;
  /** The path of which crun says only that it can't be opened. */
  path?: (attempt: Attempt) => string | undefined;
  /** What to do about it. */
  advice(attempt: Attempt): string;
}

/** What fits one of these, in capitals or not. */
function anyOf(...words: RegExp[]): RegExp {
  return new RegExp(words.map(({ source }) => source).join("|"), "i");
}

const ELSEWHERE =
  "the daemon has other mounts than this program (PrivateTmp= in its unit? a container?) or runs on another machine";

/** The first that fits counts. */
const causes: readonly Cause[] = [
  {
    kind: "command-not-found",
    words: anyOf(
      /executable file (?:not found|`.*` not found)/,
      /exec: "[^"]*": stat .*: no such file or directory/,
      /executable (?:path )?.*not found/,
      /cannot find .* in \$PATH/,
    ),
    advice: () =>
      "the command is looked up in the container: in its root file system, on the PATH of its env, unless it begins with a slash",
  },
  {
    kind: "bad-mount",
    words: anyOf(
      /error mounting|mount .*(?:no such file or directory|not a directory)/,
      /(?:error stat'ing file|cannot stat) `.*`: no such file or directory/,
    ),
    advice: () =>
      "a mount's source must be there on the daemon's machine, and a file goes onto a file, a folder onto a folder",
  },
  {
    kind: "bad-rootfs",
    words: anyOf(
      /invalid rootfs|fork\/exec \/proc\/self\/exe: not a directory/,
      /rootfs.*(?:no such file or directory|not a directory)/,
      /make `.*` private: |the target `.*` is invalid: not a directory/,
    ),
    path: ({ rootfs }) => rootfs && resolve(rootfs),
    advice: ({ rootfs }) => {
      if (rootfs === undefined) return "root.path in the bundle's config.json must be a folder";
      if (isFolder(rootfs)) return `this program sees the folder ${resolve(rootfs)}: ${ELSEWHERE}`;
      return `rootfs must be a folder with a root file system, and ${resolve(rootfs)} is none`;
    },
  },
  {
    kind: "bad-network",
    words: /namespace path: /,
    path: ({ network }) => network,
    advice: () => "network.path must be a network namespace on the daemon's machine",
  },
  {
    kind: "bad-limit",
    words: anyOf(
      /(?:memory|pids|cpu).* limit|cgroup config/,
      /(?:writing|opening|open|write).*(?:memory|pids|cpu)\.\w+/,
    ),
    advice: () => "a limit must leave room for what the container uses (at its start: some 4 MiB of memory)",
  },
  {
    kind: "bad-cwd",
    words: /\bcwd\b|chdir|mkdir .*: not a directory/i,
    advice: ({ workdirOption = "cwd" }) => `${workdirOption} must be a folder in the container that its user may enter`,
  },
  {
    kind: "not-executable",
    words: anyOf(
      /exec: "[^"]*": (?:permission denied|is a directory)|exec format error|open executable/,
      /permission denied.*exec|is not a regular file/,
    ),
    advice: () => "the command must be a program that its user may execute: its mode, or its kind, is wrong",
  },
  {
    kind: "runtime-not-found",
    words: /not installed on system|shim error: (?:fork\/exec|exec:) /,
    advice: () => "runtime must be a program on the PATH of the daemon, or a path there",
  },
  {
    kind: "wrong-state",
    words: anyOf(
      /paused container|container (?:not|is not) (?:paused|running)|cannot exec in a stopped/,
      /the container `.*` is (?:paused|not running)/,
    ),
    advice: () => "pause() and resume() change it, state() tells it",
  },
];

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
    message.includes(`${stdioDir}/`) &&
    /no such (?:file|device)/.test(message) &&
    existsSync(stdioDir)
  )
    return explained(
      "stdio-not-visible",
      `${message}; this program sees it: ${ELSEWHERE}; stdioDir names a folder that both see`,
      "FAILED_PRECONDITION",
    );
  // Only what the runtime or the shim says can have such a cause.
  const cause = error.kind === "internal" ? causes.find((cause) => fits(cause, message, attempt)) : undefined;
  return cause ? explained(cause.kind, `${message}; ${cause.advice(attempt)}`) : error;
}

function fits({ words, path }: Cause, message: string, attempt: Attempt): boolean {
  const unopened = /open `(.*)`: no such file or directory/i.exec(message)?.[1];
  return words.test(message) || (unopened !== undefined && unopened === path?.(attempt));
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
