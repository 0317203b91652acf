/** What /proc tells about the processes of a test. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

export interface ProcessInfo {
  pid: number;
  parent: number;
  /** One letter, as in /proc/<pid>/stat: R, S, D, Z, T … */
  state: string;
  /** The arguments, separated by spaces; the name in brackets when there are none (a zombie). */
  command: string;
  /** The working directory, or "" when it cannot be read. */
  directory: string;
  /** Paths in every cgroup hierarchy. */
  cgroups: string[];
}

function inspect(pid: number): ProcessInfo | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const close = stat.lastIndexOf(")");
    const [state = "?", parent = "0"] = stat.slice(close + 2).split(" ");
    const command = readFileSync(`/proc/${pid}/cmdline`, "utf8").replace(/\0$/, "").replaceAll("\0", " ");
    let directory = "";
    try {
      directory = readlinkSync(`/proc/${pid}/cwd`);
    } catch {
      // A zombie has none.
    }
    const cgroups = readFileSync(`/proc/${pid}/cgroup`, "utf8")
      .split("\n")
      .filter(Boolean)
      .map((line) => line.split(":").slice(2).join(":"));
    return {
      pid,
      parent: Number(parent),
      state,
      command: command || `[${stat.slice(stat.indexOf("(") + 1, close)}]`,
      directory,
      cgroups,
    };
  } catch {
    return undefined;
  }
}

/** All processes of the machine; those that end while we look are left out. */
export function processes(): ProcessInfo[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => inspect(Number(name)))
    .filter((process) => process !== undefined);
}

/** Whether a process runs; a zombie does not. */
export function isRunning(pid: number): boolean {
  const info = inspect(pid);
  return info !== undefined && info.state !== "Z" && info.state !== "X";
}

/** The open descriptors of a process: number → what it is (as the links in /proc/<pid>/fd read). */
export function openDescriptors(pid: number): Map<number, string> {
  const open = new Map<number, string>();
  for (const name of readdirSync(`/proc/${pid}/fd`)) {
    try {
      open.set(Number(name), readlinkSync(`/proc/${pid}/fd/${name}`));
    } catch {
      // Closed meanwhile.
    }
  }
  return open;
}

/**
 * Limits a process to as many descriptors as leave it so many numbers. What it has open above stays, so that how many it has open says
 * nothing.
 * @returns the limit
 */
export function leaveDescriptors(pid: number, free: number): number {
  const open = openDescriptors(pid);
  let limit = 0;
  for (let left = free; left > 0 || open.has(limit); limit++) if (!open.has(limit)) left--;
  execFileSync("prlimit", ["--pid", `${pid}`, `--nofile=${limit}:4096`]);
  return limit;
}

/** The processes that have a file open. */
export function holders(path: string): number[] {
  return processes()
    .map(({ pid }) => pid)
    .filter((pid) => {
      try {
        return [...openDescriptors(pid).values()].includes(path);
      } catch {
        // It has ended meanwhile.
        return false;
      }
    });
}

/** SIGKILL; that the process has ended already is fine. */
export function kill(pid: number, signal: NodeJS.Signals = "SIGKILL"): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
