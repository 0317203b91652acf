import { lstatSync, readFileSync, readlinkSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";

/**
 * How folders begin that belong to a program together with a container that ends with it: pid namespace, pid and start time name the
 * program, so that another one can tell when it has gone.
 */
const OWNED_FOLDER = /^ctr-owned-(\d+)\.(\d+)\.(\d+)-/;

let ownPrefix: string | undefined;

/** For mkdtemp: the beginning of the name of a folder of this program. */
export function ownedFolderPrefix(): string {
  if (ownPrefix === undefined) {
    const startTime = startTimeOf(process.pid);
    const namespace = pidNamespace();
    // Without /proc nobody could tell; then nobody removes it but this program.
    ownPrefix =
      startTime === undefined || namespace === undefined
        ? "ctr-"
        : `ctr-owned-${namespace}.${process.pid}.${startTime}-`;
  }
  return ownPrefix;
}

/**
 * Removes what programs of this user have left in a folder that were killed, and with which their containers have ended: bundles and FIFOs.
 * Those of a program in another pid namespace are left alone: nobody here can tell whether it has gone.
 *
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
  // It is a service to others: that it can't be done is no failure of this program's.
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
