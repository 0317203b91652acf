/** A runtime for a whole load: runc, of which any subcommand can be made to go wrong in any way while it is used. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { findProgram } from "../harness/paths.js";
import { type Fault, faultAction, type Subcommand } from "../harness/runtime-wrapper.js";

/** What can go wrong: in `garbage` a runtime claims what it has not done, which after a delete nobody could know. */
const KINDS: Fault["kind"][] = ["fail", "hang", "crash", "fail-afterwards"];
const SUBCOMMANDS: Subcommand[] = ["create", "exec", "kill", "delete", "pause", "resume", "state"];

/** "delete hangs", … */
export const runtimeFaults = [
  ...SUBCOMMANDS.flatMap((subcommand) => KINDS.map((kind) => `${subcommand} ${kind}`)),
  "create garbage",
  "exec garbage",
];

/** Those of tasks, whose start is a call of its own, and which nobody pauses there. */
export const taskFaults = [
  ...runtimeFaults.filter((fault) => !/^(?:pause|resume) /.test(fault)),
  ...KINDS.map((kind) => `start ${kind}`),
];

export class FaultyRuntime {
  readonly path: string;

  constructor(directory: string) {
    this.path = join(directory, "faulty-runtime");
    const cases = [...KINDS, "garbage" as const].map((kind) => `${kind}) ${faultAction({ kind } as Fault)} ;;`);
    writeFileSync(
      this.path,
      `#!/bin/bash
real=${findProgram("runc")}
if { read -r at kind <${this.path}.fault; } 2>/dev/null; then
  log= pidfile= previous=
  for word in "$@"; do
    case $previous in
      --log) log=$word ;;
      --pid-file) pidfile=$word ;;
    esac
    previous=$word
  done
  for word in "$@"; do
    [ "$word" = "$at" ] || continue
    case $kind in
      ${cases.join("\n      ")}
    esac
    break
  done
fi
exec "$real" "$@"
`,
      { mode: 0o755 },
    );
  }

  begin(fault: string): void {
    writeFileSync(`${this.path}.fault`, `${fault}\n`);
  }

  end(): void {
    rmSync(`${this.path}.fault`, { force: true });
  }
}
