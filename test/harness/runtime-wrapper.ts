/** Runtimes with a fault: a script around runc that does something else at one subcommand, for one container, while a switch is on. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findProgram } from "./paths.js";
import { processes } from "./processes.js";
import { eventually } from "./wait.js";

/** The subcommands of an OCI runtime that a daemon or shim calls. */
export type Subcommand =
  | "create"
  | "start"
  | "exec"
  | "kill"
  | "delete"
  | "pause"
  | "resume"
  | "update"
  | "checkpoint"
  | "restore"
  | "state"
  | "events"
  | "ps";

export type Fault =
  /** Ends with status 1 and a message on stderr, without calling the runtime. */
  | { kind: "fail"; message?: string }
  /** Waits until it is killed. */
  | { kind: "hang" }
  /** Dies by SIGSEGV. */
  | { kind: "crash" }
  /** Waits until the fault is switched off, then does what was asked for. */
  | { kind: "hold" }
  /** Waits, then does what was asked for. */
  | { kind: "sleep"; seconds: number }
  /** Writes what no runtime writes to stdout, stderr, its log and the pid file, and claims success. */
  | { kind: "garbage" }
  /** Does what was asked for, then ends with status 1 all the same. */
  | { kind: "fail-afterwards" }
  /** The same, once the fault is switched off. */
  | { kind: "fail-late" };

/** The shell commands of a fault; "$real" is the runtime, $log and $pidfile what it was told to write. */
export function faultAction(fault: Fault, isOn = "false"): string {
  switch (fault.kind) {
    case "fail":
      return `echo '${(fault.message ?? "made to fail").replaceAll("'", "")}' >&2; exit 1`;
    case "hang":
      return "exec sleep 3600";
    case "hold":
      return `while ${isOn}; do sleep 0.02; done`;
    case "crash":
      return "kill -SEGV $$";
    case "sleep":
      return `sleep ${fault.seconds}`;
    case "garbage":
      return [
        "printf '\\001\\377{\"not\": json' | tee /dev/stderr",
        '[ -z "$log" ] || printf "{{{ no json\\n" >"$log"',
        '[ -z "$pidfile" ] || printf "no pid" >"$pidfile"',
        "exit 0",
      ].join("; ");
    case "fail-afterwards":
      return '"$real" "$@"; exit 1';
    case "fail-late":
      return `"$real" "$@"; while ${isOn}; do sleep 0.02; done; exit 1`;
  }
}

export interface RuntimeWrapper {
  /** For --runtime or a request's `runtime`. */
  readonly path: string;
  /** The fault happens from now on; for one container, or for all. */
  on(id?: string): void;
  off(): void;
  /** Resolves when the runtime has been called so many times for this. */
  called(subcommand: Subcommand, times?: number): Promise<void>;
  /** Resolves when no call of it is under way, also none whose caller has gone. */
  idle(): Promise<void>;
}

/** Writes such a runtime into `directory`; the fault is off. Its arguments are noted, a line each call, in `<path>.calls`. */
export function wrapRuntime(
  directory: string,
  name: string,
  at: Subcommand | Subcommand[],
  fault: Fault,
  runtime = "runc",
): RuntimeWrapper {
  const real = runtime.includes("/") ? runtime : findProgram(runtime);
  if (!real) throw new Error(`${runtime} is not installed`);
  const path = join(directory, name);
  const file = `${path}.on`;
  const isOn = `[ -e ${file} ]`;
  const subcommands = Array.isArray(at) ? at.join("|") : at;
  // The subcommand is the first word that is no global flag or its value; the container's id is the last one, except for
  // exec's of a runtime that takes a command (not used: execs come with --process).
  writeFileSync(
    path,
    `#!/bin/bash
real=${real}
subcommand= log= pidfile= id= previous=
for word in "$@"; do
  case $previous in
    --log) log=$word ;;
    --pid-file) pidfile=$word ;;
  esac
  if [ -z "$subcommand" ]; then
    case $word in
      create|start|exec|kill|delete|pause|resume|update|checkpoint|restore|state|events|ps)
        case $previous in --log|--root|--log-format|--criu) ;; *) subcommand=$word ;; esac ;;
    esac
  fi
  previous=$word
done
echo "$*" >>${path}.calls
case $subcommand in
  ${subcommands})
    if ${isOn}; then
      only=$(cat ${file})
      for word in "$@"; do
        if [ -z "$only" ] || [ "$word" = "$only" ]; then
          ${faultAction(fault, isOn)}
          break
        fi
      done
    fi ;;
esac
exec "$real" "$@"
`,
    { mode: 0o755 },
  );
  return {
    path,
    on(id = "") {
      writeFileSync(file, id);
    },
    off() {
      rmSync(file, { force: true });
    },
    async idle() {
      // The script becomes the runtime, whose arguments name files of the test's directory.
      const isCall = ({ command }: { command: string }) =>
        command.startsWith(`/bin/bash ${path} `) ||
        (command.startsWith(`${real} `) && command.includes(`${directory}/`));
      await eventually(() => !processes().some(isCall), { what: `the end of the calls of ${path}` });
    },
    async called(subcommand, times = 1) {
      await eventually(
        () => {
          const calls = existsSync(`${path}.calls`) ? readFileSync(`${path}.calls`, "utf8").split("\n") : [];
          return calls.filter((line) => line.split(" ").includes(subcommand)).length >= times;
        },
        { what: `call ${times} of ${path} ${subcommand}` },
      );
    },
  };
}
