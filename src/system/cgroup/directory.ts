import { closeSync, openSync, readdirSync, readFileSync, readSync, type Stats, statSync } from "node:fs";
import { hasCode } from "../linux/libc.js";
import { openPidFd, signalPidFd } from "../linux/pidfd.js";

/** ENOENT, as Node words it, for a cgroup that is gone. */
export function goneError(path: string): Error {
  return Object.assign(new Error(`ENOENT: no such file or directory, stat '${path}'`), {
    code: "ENOENT",
    errno: -2,
    syscall: "stat",
    path,
  });
}

/** Enough for 8,000 pids in one read; shared, since nothing here waits. */
const buffer = Buffer.allocUnsafe(64 * 1024);

/**
 * One directory of a cgroup filesystem, known by its inode as well: a later cgroup of the same name is another one, and this one is
 * gone (kernfs gives no inode number out twice).
 */
export class CgroupDirectory {
  readonly path: string;
  readonly #inode: number;

  /** Throws ENOENT when there is none. */
  constructor(path: string) {
    this.path = path;
    this.#inode = statSync(path).ino;
  }

  /** True once the cgroup is removed. */
  get gone(): boolean {
    return this.#stat() === undefined;
  }

  /** The pids of every process here and below, sorted, each once; empty once the cgroup is gone. */
  pids(): number[] {
    const stat = this.#stat();
    if (stat === undefined) return [];
    const pids: number[] = [];
    if (!collect(`${this.path}/cgroup.procs`, pids)) {
      // A threaded cgroup (v2) lists threads only, and so does everything below it.
      const threads: number[] = [];
      collectBelow(this.path, stat, "cgroup.threads", threads);
      for (const thread of threads) {
        const pid = processOf(thread);
        if (pid !== undefined) pids.push(pid);
      }
    } else {
      // Threaded cgroups below can't be read, nor need they be: their processes are listed here.
      collectChildren(this.path, stat, "cgroup.procs", pids);
    }
    return sortedUnique(pids);
  }

  /** Sends SIGKILL to each of {@link pids}. */
  killEach(): void {
    const pids = this.pids();
    for (let first = 0; first < pids.length; first += KILLED_AT_A_TIME) {
      const some = pids.slice(first, first + KILLED_AT_A_TIME).flatMap((pid) => descriptorsOf(pid));
      try {
        // A descriptor holds one process. One that is in here now, and has the pid, is that process: else it has ended, and the signal
        // fails.
        const here = new Set(this.pids());
        for (const { pid, fd } of some) if (here.has(pid)) killByDescriptor(fd);
      } finally {
        for (const { fd } of some) closeSync(fd);
      }
    }
  }

  #stat(): Stats | undefined {
    const stat = statSync(this.path, { throwIfNoEntry: false });
    return stat?.ino === this.#inode ? stat : undefined;
  }
}

const SIGKILL = 9;
/** How many processes are held by a descriptor while they are killed. */
const KILLED_AT_A_TIME = 32;

/** Empty when the process has ended. */
function descriptorsOf(pid: number): { pid: number; fd: number }[] {
  try {
    return [{ pid, fd: openPidFd(pid) }];
  } catch (error) {
    if (hasCode(error, "ESRCH")) return [];
    throw error;
  }
}

function killByDescriptor(fd: number): void {
  try {
    signalPidFd(fd, SIGKILL);
  } catch (error) {
    if (!hasCode(error, "ESRCH")) throw error;
  }
}

/** The paths of the cgroups below one, those nearer to it first; none when it is gone. */
export function directoriesBelow(path: string, most: number): string[] {
  const found: string[] = [];
  for (
    let next: string | undefined = path, index = 0;
    next !== undefined && found.length < most;
    next = found[index++]
  ) {
    // 2 links are those of a directory without others in it.
    if (statSync(next, { throwIfNoEntry: false })?.nlink === 2) continue;
    try {
      for (const entry of readDirectory(next)) if (entry.isDirectory()) found.push(`${next}/${entry.name}`);
    } catch (error) {
      if (!hasCode(error, "ENOENT") && !hasCode(error, "ENODEV")) throw error;
    }
  }
  return found.slice(0, most);
}

function collectBelow(path: string, stat: Stats, file: string, pids: number[]): void {
  collect(`${path}/${file}`, pids);
  collectChildren(path, stat, file, pids);
}

function collectChildren(path: string, stat: Stats, file: string, pids: number[]): void {
  // Cgroup filesystems count a directory's links as Unix did of old: 2, and one for each directory in it. Others may not count (1).
  if (stat.nlink === 2) return;
  let entries: ReturnType<typeof readDirectory>;
  try {
    entries = readDirectory(path);
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "ENODEV")) return;
    throw error;
  }
  for (const entry of entries) {
    if (!entry.isDirectory()) continue;
    const child = `${path}/${entry.name}`;
    const childStat = statSync(child, { throwIfNoEntry: false });
    if (childStat !== undefined) collectBelow(child, childStat, file, pids);
  }
}

function readDirectory(path: string) {
  return readdirSync(path, { withFileTypes: true });
}

/** Adds the numbers in a file of one number a line. False when the cgroup is a threaded one; a file that is gone holds none. */
function collect(file: string, pids: number[]): boolean {
  let fd: number;
  try {
    fd = openSync(file, "r");
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "ENODEV")) return true;
    throw error;
  }
  try {
    let pid = 0;
    for (;;) {
      const length = readSync(fd, buffer, 0, buffer.length, null);
      if (length === 0) return true;
      for (let i = 0; i < length; i++) {
        const digit = buffer[i]! - 0x30;
        if (digit >= 0) {
          pid = pid * 10 + digit;
        } else {
          // 0 is a process of another pid namespace.
          if (pid !== 0) pids.push(pid);
          pid = 0;
        }
      }
    }
  } catch (error) {
    // EOPNOTSUPP; on Linux one number with ENOTSUP, and that is the name that Node has for it.
    if (hasCode(error, "ENOTSUP")) return false;
    if (hasCode(error, "ENODEV")) return true;
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** The process that a thread belongs to; undefined when it is gone. */
function processOf(thread: number): number | undefined {
  try {
    return Number(/^Tgid:\s*(\d+)$/m.exec(readFileSync(`/proc/${thread}/status`, "latin1"))?.[1]) || undefined;
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "ESRCH")) return undefined;
    throw error;
  }
}

function sortedUnique(pids: number[]): number[] {
  if (pids.length < 2) return pids;
  pids.sort((a, b) => a - b);
  return pids.filter((pid, i) => pid !== pids[i - 1]);
}
