import { type Stats, statSync } from "node:fs";
import { resolve } from "node:path";
import type { Membership } from "./membership.js";
import { deviceText, directoryOf, type Hierarchy, isHierarchyOf } from "./mounts.js";

/** Stands for v2's hierarchy in a {@link CgroupPlace}, where others are named by controller. */
export const UNIFIED = "unified";

/**
 * The directories of a cgroup by controller, as they are written down for a later daemon. The inodes tell them from later cgroups of the
 * same name (kernfs gives no number out twice until the next boot).
 */
export interface CgroupPlace {
  [controller: string]: { path: string; inode: number };
}

/** Throws ENOENT when the cgroup is gone. */
export function placeOf(directories: ReadonlyMap<string, string>): CgroupPlace {
  const place: CgroupPlace = {};
  for (const [controller, path] of directories) place[controller] = { path, inode: statSync(path).ino };
  return place;
}

/**
 * The directories of a place that was read from a file, if all of it can be true: each is the very cgroup that it was, in a mounted
 * hierarchy of its controller, and neither the top of that nor a cgroup that this process is in. Undefined otherwise.
 */
export function directoriesOf(
  place: unknown,
  hierarchies: readonly Hierarchy[],
  own: readonly Membership[],
): Map<string, string> | undefined {
  if (typeof place !== "object" || place === null) return undefined;
  const directories = new Map<string, string>();
  for (const [controller, entry] of Object.entries(place)) {
    const { path, inode } = (entry ?? {}) as { path?: unknown; inode?: unknown };
    if (typeof path !== "string" || resolve(path) !== path) return undefined;
    const controllers = controller === UNIFIED ? [] : [controller];
    const hierarchy = hierarchies.find(
      (one) => isHierarchyOf(one, controllers) && path.startsWith(`${one.mountPoint}/`),
    );
    if (hierarchy === undefined || holdsOneOf(path, hierarchy, own)) return undefined;
    const stat = statOf(path);
    if (!stat?.isDirectory() || stat.ino !== inode || deviceText(stat.dev) !== hierarchy.device) return undefined;
    directories.set(controller, path);
  }
  return directories.size > 0 ? directories : undefined;
}

/**
 * Directories of one cgroup by controller.
 * @param paths those of which it is known that they are there; one that this process is in, or that is in no hierarchy, is left out
 */
export function byController(
  paths: readonly string[],
  hierarchies: readonly Hierarchy[],
  own: readonly Membership[],
): Map<string, string> {
  const directories = new Map<string, string>();
  for (const path of paths) {
    const hierarchy = hierarchies.find(({ mountPoint }) => path.startsWith(`${mountPoint}/`));
    if (hierarchy === undefined || holdsOneOf(path, hierarchy, own)) continue;
    for (const controller of hierarchy.version === 2 ? [UNIFIED] : hierarchy.options) directories.set(controller, path);
  }
  return directories;
}

/** Whether a process with these memberships is in that cgroup, or in one below it. */
function holdsOneOf(path: string, hierarchy: Hierarchy, memberships: readonly Membership[]): boolean {
  return memberships.some((membership) => {
    if (!isHierarchyOf(hierarchy, membership.controllers)) return false;
    const directory = directoryOf(hierarchy, membership.path);
    return directory !== undefined && `${directory}/`.startsWith(`${path}/`);
  });
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
}
