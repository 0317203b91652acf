/**
 * What runc's `delete` does of a container whose processes have all ended: its cgroups go, and then what runc knows of it. That call is a
 * process, and takes longer than all else that follows the end of a container.
 */

import type { CgroupJson } from "../contract/shim/usage-json";
import * as files from "./syscalls/files";

/** How many cgroups below a container's are removed: it can make as many as it likes. */
const MOST_BELOW = 1000;

/** Removes a cgroup and those that the container has made below it; false when it is still there. */
function removeCgroup(path: string): boolean {
  if (files.rmdir(path) >= 0) return true;
  const below = [path];
  for (let next = 0; next < below.length && below.length < MOST_BELOW; next++) {
    for (const name of files.directoriesIn(below[next]!)) below[below.length] = `${below[next]!}/${name}`;
  }
  // Those further down were found later.
  for (let last = below.length - 1; last >= 0; last--) files.rmdir(below[last]!);
  return !files.exists(path);
}

/** Removes the cgroups that the runtime has made for this container; false when one is left, or was there before. */
function removeCgroups({ made, place }: CgroupJson): boolean {
  if (made === undefined || place === undefined) return false;
  const own = new LuaTable<string, boolean>();
  for (const path of made) own.set(path, true);
  const paths: string[] = [];
  for (const [, directory] of pairs(place)) {
    if (directory === undefined || !own.has(directory.path)) return false;
    paths[paths.length] = directory.path;
  }
  let isGone = true;
  // Hierarchies of several controllers are named several times: one that has gone is gone.
  for (const path of paths) isGone = (!files.exists(path) || removeCgroup(path)) && isGone;
  return isGone;
}

/**
 * @param directory where the runtime keeps the container; empty: the runtime has more to do
 * @returns false when the runtime has to be called: something is not as it always is
 */
export function forget(directory: string, cgroup: CgroupJson): boolean {
  if (directory === "") return false;
  const [ok, isGone] = pcall(removeCgroups, cgroup);
  if (!ok || !isGone) return false;
  files.unlink(`${directory}/state.json`);
  return files.rmdir(directory) >= 0;
}
