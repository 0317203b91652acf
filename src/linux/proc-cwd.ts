import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** Pids of the processes whose working directory this is. Looks at every process: for rare occasions. */
export function processesWithCwd(directory: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        return readlinkSync(`/proc/${name}/cwd`) === directory;
      } catch {
        return false; // It has ended, or is a kernel thread.
      }
    })
    .map(Number);
}

/** A process's arguments; empty when it has ended. */
export function commandLineOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1);
  } catch {
    return [];
  }
}
