/** What has gone wrong with a start or a change of a container, as far as a runtime's words tell. */
export type RuntimeCause =
  | "command-not-found"
  | "bad-mount"
  | "bad-rootfs"
  | "bad-network"
  | "bad-limit"
  | "bad-cwd"
  | "not-executable"
  | "runtime-not-found"
  | "wrong-state";

/** What fits one of these, in capitals or not. */
function anyOf(...words: RegExp[]): RegExp {
  return new RegExp(words.map(({ source }) => source).join("|"), "i");
}

/** The words of the daemon, of runc and of crun; the first that fit count. */
const WORDS: readonly [RuntimeCause, RegExp][] = [
  [
    "command-not-found",
    anyOf(
      /executable file (?:not found|`.*` not found)/,
      /exec: "[^"]*": stat .*: no such file or directory/,
      /executable (?:path )?.*not found/,
      /cannot find .* in \$PATH/,
    ),
  ],
  [
    "bad-mount",
    anyOf(
      /error mounting|mount .*(?:no such file or directory|not a directory)/,
      /(?:error stat'ing file|cannot stat) `.*`: no such file or directory/,
    ),
  ],
  [
    "bad-rootfs",
    anyOf(
      /invalid rootfs|fork\/exec \/proc\/self\/exe: not a directory/,
      /rootfs.*(?:no such file or directory|not a directory)/,
      /make `.*` private: |the target `.*` is invalid: not a directory/,
    ),
  ],
  ["bad-network", /namespace path: /],
  [
    "bad-limit",
    anyOf(/(?:memory|pids|cpu).* limit|cgroup config/, /(?:writing|opening|open|write).*(?:memory|pids|cpu)\.\w+/),
  ],
  ["bad-cwd", /\bcwd\b|chdir|mkdir .*: not a directory/i],
  [
    "not-executable",
    anyOf(
      /exec: "[^"]*": (?:permission denied|is a directory)|exec format error|open executable/,
      /permission denied.*exec|is not a regular file/,
    ),
  ],
  ["runtime-not-found", /not installed on system|shim error: (?:fork\/exec|exec:) /],
  [
    "wrong-state",
    anyOf(
      /paused container|container (?:not|is not) (?:paused|running)|cannot exec in a stopped/,
      /the container `.*` is (?:paused|not running)/,
    ),
  ],
];

/** What the container has that crun only says of that it can't be opened. */
export interface NamedPaths {
  /** Absolute. */
  rootfs?: string | undefined;
  /** Of a network namespace. */
  network?: string | undefined;
}

/** Undefined: the words tell of nothing that is known. */
export function runtimeCause(text: string, { rootfs, network }: NamedPaths): RuntimeCause | undefined {
  const unopened = /open `(.*)`: no such file or directory/i.exec(text)?.[1];
  const isUnopened = (cause: RuntimeCause) =>
    unopened !== undefined &&
    ((cause === "bad-rootfs" && unopened === rootfs) || (cause === "bad-network" && unopened === network));
  return WORDS.find(([cause, words]) => words.test(text) || isUnopened(cause))?.[0];
}
