import { readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";

const NAMESPACES = ["user", "pid", "mnt"] as const;
/** What the kernel appends to the path of a directory that is removed. */
const REMOVED = " (deleted)";

/**
 * The processes of this host's root that stand in a directory: in our namespaces, so that they can't be a container's. Looks at every
 * process: for rare occasions.
 *
 * The path that the kernel shows is only where the search begins: in a container's own root a directory can have any path. What is compared
 * then no process can choose. Nothing is looked up below a directory of a process that is not known to be one of the host's: a file system
 * of a container's may never answer.
 * @param directory with no links in its path. When it is gone: the processes that stood in it
 */
export function hostProcessesIn(directory: string): number[] {
  const found = fileOf(directory);
  const there = found?.isDirectory() ? found : undefined;
  const path = there === undefined ? directory + REMOVED : directory;
  return allProcesses().filter((pid) => {
    if (linkOf(pid, "cwd") !== path || !isHostRoot(pid)) return false;
    if (there === undefined) return true;
    const cwd = fileOf(`/proc/${pid}/cwd`);
    return cwd?.dev === there.dev && cwd.ino === there.ino;
  });
}

/** Whether it runs the program at one of these paths. Only for a process of the host's root. */
export function runsOneOf(pid: number, programs: readonly string[]): boolean {
  const own = fileOf(`/proc/${pid}/exe`);
  if (own === undefined) return false;
  return programs.some((program) => {
    const file = fileOf(program);
    return file?.dev === own.dev && file.ino === own.ino;
  });
}

/** A process's arguments; empty when it has ended. Its own words: not to be believed of a process that is not the host's root's. */
export function commandLineOf(pid: number): string[] {
  return (textOf(pid, "cmdline") ?? "").split("\0").slice(0, -1);
}

/** True for the host's root: real, effective, saved and file-system user id are 0, in the user, pid and mount namespace of this process. */
function isHostRoot(pid: number): boolean {
  if (!/^Uid:\t0\t0\t0\t0$/m.test(textOf(pid, "status") ?? "")) return false;
  return NAMESPACES.every((name) => {
    const namespace = linkOf(pid, `ns/${name}`);
    return namespace !== undefined && namespace === readlinkSync(`/proc/self/ns/${name}`);
  });
}

export function allProcesses(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function fileOf(path: string) {
  try {
    return statSync(path, { bigint: true, throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}

/** Undefined when it has ended, or is a kernel thread. */
function linkOf(pid: number, name: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/${name}`);
  } catch {
    return undefined;
  }
}

function textOf(pid: number, name: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "utf8");
  } catch {
    return undefined;
  }
}
