import { readFileSync, statSync } from "node:fs";

/** A mounted cgroup hierarchy, as a line of mountinfo tells it. */
export interface Hierarchy {
  version: 1 | 2;
  /** The superblock's options; on v1 the controllers are among them ("cpu", "cpuacct", …; "name=systemd" for none). */
  options: string[];
  /** The cgroup that is seen at the mount point: not "/" where the daemon lives in a container or a cgroup namespace. */
  root: string;
  mountPoint: string;
  /** "<major>:<minor>" of the filesystem. */
  device: string;
}

/**
 * The cgroup mounts in the text of a /proc/<pid>/mountinfo (proc(5)), in its order.
 *
 *     39 31 0:36 / /sys/fs/cgroup/pids rw,relatime shared:7 - cgroup cgroup rw,pids
 *
 * The optional fields before the dash are of any number.
 */
export function parseMountinfo(text: string): Hierarchy[] {
  const hierarchies: Hierarchy[] = [];
  for (const line of text.split("\n")) {
    const dash = line.indexOf(" - cgroup");
    if (dash < 0) continue;
    const [, , device, root, mountPoint] = line.slice(0, dash).split(" ");
    const [type, , superOptions] = line.slice(dash + 3).split(" ");
    if (!device || !root || !mountPoint || (type !== "cgroup" && type !== "cgroup2")) continue;
    hierarchies.push({
      version: type === "cgroup2" ? 2 : 1,
      options: (superOptions ?? "").split(","),
      root: unescapeField(root),
      mountPoint: unescapeField(mountPoint),
      device,
    });
  }
  return hierarchies;
}

/** mountinfo writes space, tab, newline and backslash as an octal number. */
function unescapeField(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Whether that is the hierarchy of these controllers, as /proc/<pid>/cgroup lists them: v2's has none. */
export function isHierarchyOf({ version, options }: Hierarchy, controllers: readonly string[]): boolean {
  if (controllers.length === 0) return version === 2;
  return version === 1 && controllers.every((controller) => options.includes(controller));
}

let cached: Hierarchy[] | undefined;

/**
 * The hierarchies that this process can reach. Read once: mounts of a running daemon hardly ever change; {@link forgetHierarchies}
 * makes the next call read again.
 */
export function reachableHierarchies(): Hierarchy[] {
  cached ??= parseMountinfo(readFileSync("/proc/self/mountinfo", "utf8")).filter(isOnTop);
  return cached;
}

export function forgetHierarchies(): void {
  cached = undefined;
}

/** False for a mount that another mount hides: what is at its mount point now is another filesystem. */
function isOnTop({ mountPoint, device }: Hierarchy): boolean {
  const stat = statSync(mountPoint, { throwIfNoEntry: false });
  return stat !== undefined && deviceText(stat.dev) === device;
}

/** "<major>:<minor>" */
export function deviceText(device: number): string {
  // glibc's dev_t: 12 bits of major between 8 and 24 bits of minor. Cgroup filesystems are anonymous: major 0.
  const major = (device >>> 8) & 0xfff;
  const minor = (device & 0xff) | ((device >>> 12) & 0xfff00);
  return `${major}:${minor}`;
}

/**
 * Where a cgroup is in the filesystem: `path` as /proc/<pid>/cgroup tells it. Both that file and mountinfo's root count from the
 * reader's cgroup namespace, so the root comes off the path. Undefined when the mount does not show that cgroup.
 */
export function directoryOf(
  { root, mountPoint }: Pick<Hierarchy, "root" | "mountPoint">,
  path: string,
): string | undefined {
  if (path === root) return mountPoint;
  const prefix = root === "/" ? "/" : `${root}/`;
  if (!path.startsWith(prefix)) return undefined;
  const below = path.slice(prefix.length);
  // "/../x" is outside of the namespace: going up from the mount point would leave the hierarchy.
  if (below === ".." || below.startsWith("../")) return undefined;
  return `${mountPoint}/${below}`;
}
