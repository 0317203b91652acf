import { readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { hasCode } from "../linux/libc.js";
import { parseMembership } from "./membership.js";
import { directoryOf, reachableHierarchies } from "./mounts.js";

/** How often a cgroup whose last process is just ending is tried again, and after how many ms. */
const ATTEMPTS = 20;
const INTERVAL = 10;

/**
 * Removes the cgroups that a runtime has made for a container and that nobody knows of any more, since it was killed before it had written
 * down that there is a container. One that has a process or a cgroup in it stays as it is.
 * @param path `linux.cgroupsPath` of the container, or its id: relative ones are below this daemon's cgroup, as the runtime was started there
 */
export async function removeAbandonedCgroups(path: string): Promise<void> {
  // "slice:prefix:name" is for systemd, which sees to its units itself.
  if (path === "" || path.includes(":") || path.split("/").includes("..")) return;
  const own = parseMembership(readFileSync("/proc/self/cgroup", "utf8"));
  for (const hierarchy of reachableHierarchies()) {
    const membership = own.find(({ controllers }) =>
      hierarchy.version === 2
        ? controllers.length === 0
        : controllers.length > 0 && controllers.every((controller) => hierarchy.options.includes(controller)),
    );
    const parent = membership && directoryOf(hierarchy, membership.path);
    if (path.startsWith("/")) await removeEmpty(join(hierarchy.mountPoint, path));
    else if (parent !== undefined) await removeEmpty(join(parent, path));
  }
}

/** rmdir of a cgroup fails while there is anything in it: that is all the caution that is needed. */
async function removeEmpty(directory: string): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    try {
      rmdirSync(directory);
      return;
    } catch (error) {
      if (!hasCode(error, "EBUSY")) return;
    }
    await delay(INTERVAL);
  }
}
