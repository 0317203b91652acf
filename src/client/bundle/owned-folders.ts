import { lstatSync, readFileSync, readlinkSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";

/**
 * How the names of folders begin whose container belongs to a program: pid namespace, pid and start time identify the program, so that
 * another one can tell whether it has exited.
 */
const OWNED_FOLDER = /^ctr-owned-(\d+)\.(\d+)\.(\d+)-/;

let ownPrefix: string | undefined;

/** For mkdtemp: the beginning of the name of a folder of this program. */
export function ownedFolderPrefix(): string {
  if (ownPrefix === undefined) {
    const startTime = startTimeOf(process.pid);
    const namespace = pidNamespace();
    // Without /proc no other program can tell whether this one has exited: then only this one removes it.
    ownPrefix =
      startTime === undefined || namespace === undefined
        ? "ctr-"
        : `ctr-owned-${namespace}.${process.pid}.${startTime}-`;
  }
  return ownPrefix;
}

/**
 * Removes what programs of this user that were killed have left in a folder, of containers that belonged to them: bundles and FIFOs.
 * Programs in another pid namespace are left alone: from here they can't be seen.
 * @returns the paths of what has been removed
 */
export async function removeAbandonedFolders(directory: string): Promise<string[]> {
  const namespace = pidNamespace();
  if (namespace === undefined) return [];
  const removed: string[] = [];
  for (const name of await readdir(directory)) {
    const [, where, pid, startTime] = OWNED_FOLDER.exec(name) ?? [];
    if (where !== namespace || startTimeOf(Number(pid)) === startTime) continue;
    const path = join(directory, name);
    // A name can be anybody's: only folders of our own are removed, and a link is none.
    const stat = lstatSync(path, { throwIfNoEntry: false });
    if (!stat?.isDirectory() || stat.uid !== process.geteuid?.()) continue;
    await rm(path, { recursive: true, force: true });
    removed.push(path);
  }
  return removed;
}

const looked = new Set<string>();

/** {@link removeAbandonedFolders}, once for each folder, beside what the program does. */
export function removeAbandonedFoldersOnce(directory: string): void {
  if (looked.has(directory)) return;
  looked.add(directory);
  // A failure is ignored: this is a service to others, not part of what this program asked for.
  removeAbandonedFolders(directory).catch(() => {});
}

/** Field 22 of /proc/<pid>/stat (proc(5)); undefined when the process has gone, if only its exit status is still there. */
function startTimeOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name before can hold anything.
    const [state, ...fields] = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return state === "Z" || state === "X" ? undefined : fields[18];
  } catch {
    return undefined;
  }
}

/** The number of this process's pid namespace; undefined when /proc is none, or another namespace's. */
function pidNamespace(): string | undefined {
  try {
    if (readlinkSync("/proc/self") !== String(process.pid)) return undefined;
    return /^pid:\[(\d+)\]$/.exec(readlinkSync("/proc/self/ns/pid"))?.[1];
  } catch {
    return undefined;
  }
}
