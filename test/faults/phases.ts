/** How far what is under way has come, by what the daemon and the shims have written down. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Ledger } from "./ledger.js";

/** The phases in which a daemon is killed: those of a start, of an exec, and of an end. */
export const PHASES = [
  "a start was asked for",
  "a container's directory was made",
  "a container was created",
  "a container was started, its caller not told",
  "an exec was asked for",
  "an exec's directory was made",
  "an exec ran, its caller not told",
  "an exit was written down, not told",
] as const;
export type Phase = (typeof PHASES)[number];

function entries(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    // Nothing of it is there yet, or any more.
    return [];
  }
}

/** The phases that something is in at this moment. */
export function presentPhases(stateDir: string, ledger: Ledger): Set<Phase> {
  const present = new Set<Phase>();
  for (const [id, life] of ledger.lives) {
    const directory = join(stateDir, id);
    const files = entries(join(directory, "init"));
    if (files.includes("exitStatus")) present.add("an exit was written down, not told");
    if (!life.acknowledged) {
      if (files.includes("started")) present.add("a container was started, its caller not told");
      else if (files.includes("pid")) present.add("a container was created");
      else if (existsSync(directory)) present.add("a container's directory was made");
      else present.add("a start was asked for");
    }
    for (const [pid, exec] of life.execs) {
      if (exec.exited !== undefined) continue;
      const ofExec = entries(join(directory, pid));
      if (ofExec.includes("exitStatus")) present.add("an exit was written down, not told");
      if (exec.acknowledged) continue;
      if (ofExec.includes("pid")) present.add("an exec ran, its caller not told");
      else if (ofExec.length > 0) present.add("an exec's directory was made");
      else present.add("an exec was asked for");
    }
  }
  return present;
}
