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

/** A process's name, and the other fields of /proc/<pid>/stat by their numbers in proc(5), from 3 on. */
export function statOf(pid: number): { name: string; field: (number: number) => string } {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The name may hold anything, so the fields count from the last parenthesis.
  const close = stat.lastIndexOf(")");
  const fields = stat
    .slice(close + 2)
    .trimEnd()
    .split(" ");
  return { name: stat.slice(stat.indexOf("(") + 1, close), field: (number) => fields[number - 3]! };
}

/** What a process has done so far: the CPU time in ms of itself and of its children that have ended, and its main thread's wake-ups. */
export function activityOf(pid: number): { cpu: number; childrenCpu: number; wakeups: number } {
  const { field } = statOf(pid);
  // Counted in ticks of 10 ms.
  const time = (user: number, system: number) => (Number(field(user)) + Number(field(system))) * 10;
  const wakeups = /^voluntary_ctxt_switches:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1];
  return { cpu: time(14, 15), childrenCpu: time(16, 17), wakeups: Number(wakeups) };
}

function inspect(pid: number): ProcessInfo | undefined {
  try {
    const { name, field } = statOf(pid);
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
      parent: Number(field(4)),
      state: field(3),
      command: command || `[${name}]`,
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

/** The processes of a container. */
export function processesOf(id: string): ProcessInfo[] {
  return processes().filter(({ cgroups }) => cgroups.some((path) => path.split("/").includes(id)));
}

/** Whether a process of a container waits for room in a pipe or FIFO. */
export function waitsToWrite(id: string): boolean {
  return processesOf(id).some(({ pid }) => {
    try {
      // By write(2), by sendfile(2) (which older kernels don't tell from a read).
      return /pipe_(write|wait_writable|wait)$/.test(readFileSync(`/proc/${pid}/wchan`, "utf8"));
    } catch {
      return false;
    }
  });
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
