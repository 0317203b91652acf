import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseMembership } from "./membership.js";
import { directoryOf, isHierarchyOf, reachableHierarchies } from "./mounts.js";

/**
 * Where a runtime is going to put a container: directories of which some need never come about. None for a path that is systemd's to make
 * something of ("slice:prefix:name").
 * @param path `linux.cgroupsPath` of the container, or its id: runc takes a relative one from this daemon's cgroup, crun from the top
 */
export function expectedDirectories(path: string): string[] {
  if (path === "" || path.includes(":") || path.split("/").includes("..")) return [];
  const own = parseMembership(readFileSync("/proc/self/cgroup", "utf8"));
  return reachableHierarchies().flatMap((hierarchy) => {
    const fromTop = join(hierarchy.mountPoint, path);
    if (path.startsWith("/")) return [fromTop];
    const membership = own.find(({ controllers }) => isHierarchyOf(hierarchy, controllers));
    const parent = membership && directoryOf(hierarchy, membership.path);
    return parent === undefined || parent === hierarchy.mountPoint ? [fromTop] : [join(parent, path), fromTop];
  });
}
