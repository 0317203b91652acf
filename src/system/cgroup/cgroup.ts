import { existsSync, readFileSync } from "node:fs";
import { readProcStat } from "../linux/proc-stat.js";
import type { DeviceLimits } from "./device-limits.js";
import type { KernelLimits } from "./kernel-limits.js";
import { type Membership, parseMembership } from "./membership.js";
import { directoryOf, forgetHierarchies, type Hierarchy, isHierarchyOf, reachableHierarchies } from "./mounts.js";
import { byController, directoriesOf, UNIFIED } from "./place.js";
import type { CgroupStats } from "./stats.js";
import { CgroupV1 } from "./v1.js";
import { CgroupV2 } from "./v2.js";

/** The cgroup of a container, in all hierarchies that count. */
export interface Cgroup {
  /**
   * Host pids of every process in the cgroup and in the cgroups below it; sorted, each once. Empty once the cgroup is gone, also when
   * another one has got its name.
   */
  pids(): number[];
  /** All numbers of the message; 0 where the kernel does not count. Throws ENOENT once the cgroup is gone. */
  stats(): CgroupStats;
  /** Starts to watch for OOM kills. Throws when no hierarchy has a memory controller for this cgroup. */
  watchOom(options?: OomWatchOptions): OomWatch;
  /** True when its processes are stopped by the freezer (paused), or about to be. */
  frozen(): boolean;
  /**
   * Asks the freezer to stop its processes, or to let them go on, without waiting for it.
   * @returns whether all are so by now; undefined where there is no freezer, or the cgroup is gone
   * @throws a system error
   */
  setFrozen(wanted: boolean): boolean | undefined;
  /** The limits of block devices as they are. */
  deviceLimits(): DeviceLimits;
  /** Sets those that are named. Throws an Error that names the limit and the device when the kernel refuses. */
  setDeviceLimits(limits: DeviceLimits): void;
  /** Sets v1's limits that are named. Throws an Error that names the limit when the kernel does not have it. */
  setKernelLimits(limits: KernelLimits): void;
  /** Its directories, by controller; v2's is {@link UNIFIED}. */
  readonly directories: ReadonlyMap<string, string>;
  /**
   * Sends SIGKILL to every process in it and below, without starting a program. A process that was just being made may be missed: call it
   * until {@link pids} is empty. Nothing happens once the cgroup is gone.
   */
  kill(): void;
}

export interface OomWatchOptions {
  /**
   * Leave out the kills that happened before the watch. For a container that was there before this daemon was, and whose OOM is in
   * its event log already.
   */
  ignorePast?: boolean;
  /** How many kills have been told already, by an earlier watch. Default: none. */
  past?: bigint;
}

/**
 * A watch for OOM kills. `fd` goes into an epoll set with EPOLLIN; it is readable from the start when a process was killed before
 * the watch. Belongs to the caller: {@link close} it when the container has exited, whatever {@link read} said.
 */
export interface OomWatch {
  readonly fd: number;
  /**
   * To be called when `fd` is readable: drains it and tells what happened since the last call. "removed": the cgroup is gone; an OOM that
   * it had right before may still be told by a later call, one of another cgroup with the same name never is.
   *
   * cgroup v2 (kernel 6.18) does not make `fd` readable on removal; v1 does.
   */
  read(): "oom" | "removed" | "nothing";
  close(): void;
  /** How many kills {@link read} has told of, those before the watch included. */
  readonly told: bigint;
}

/**
 * The cgroup of a process: what /proc/<pid>/cgroup says, in the hierarchies that this daemon sees mounted. Of a container, ask for
 * its init before that has run any of its own code: a process may move itself further down later.
 *
 * Throws ENOENT or ESRCH when the process is gone (or a zombie: v1 has forgotten then where it was), and an Error when it has no
 * cgroup of its own: it is at the root of every hierarchy or where this daemon is, so that numbers and pids would not be the container's.
 */
export function cgroupOf(pid: number): Cgroup {
  const memberships = readMembership(pid);
  const found = locate(memberships, reachableHierarchies());
  if (found !== undefined) return found;
  // The mounts have changed since they were read.
  forgetHierarchies();
  const again = locate(memberships, reachableHierarchies());
  if (again !== undefined) return again;
  throw new Error(`process ${pid} has no cgroup of its own in a mounted hierarchy`);
}

/** The cgroup that an earlier daemon has written down; undefined when it is gone, or when that can't be true. */
export function cgroupAt(place: unknown): Cgroup | undefined {
  const directories = directoriesOf(place, reachableHierarchies(), ownMembership());
  return directories && assemble(directories);
}

/** The cgroup that has these directories; undefined when none of them is one. */
export function cgroupIn(paths: readonly string[]): Cgroup | undefined {
  return assemble(byController(paths, reachableHierarchies(), ownMembership()));
}

function ownMembership(): Membership[] {
  return parseMembership(readFileSync("/proc/self/cgroup", "utf8"));
}

function readMembership(pid: number): Membership[] {
  const own = new Map(ownMembership().map((m) => [m.controllers.join(), m.path]));
  const memberships = parseMembership(readFileSync(`/proc/${pid}/cgroup`, "utf8"));
  // In this order: a process that was not on its way out afterwards was not at the time of the reading either.
  if (readProcStat(pid)?.exiting !== false) {
    throw Object.assign(new Error(`cgroup of ${pid}: no such process`), { code: "ESRCH" });
  }
  return memberships.filter(
    ({ controllers, path, deleted }) => !deleted && path !== "/" && path !== own.get(controllers.join()),
  );
}

/** Undefined when none of it can be seen in these mounts. */
function locate(memberships: readonly Membership[], hierarchies: readonly Hierarchy[]): Cgroup | undefined {
  const directories = new Map<string, string>();
  for (const membership of memberships) {
    const directory = directoryIn(membership, hierarchies);
    if (directory === undefined) continue;
    if (membership.controllers.length === 0) directories.set(UNIFIED, directory);
    for (const controller of membership.controllers) directories.set(controller, directory);
  }
  return assemble(directories);
}

function assemble(directories: ReadonlyMap<string, string>): Cgroup | undefined {
  const v1 = new Map(directories);
  const unified = directories.get(UNIFIED);
  v1.delete(UNIFIED);
  // A hierarchy without controllers (name=systemd) is a last resort: processes are moved about in it by others.
  const hasController = [...v1.keys()].some((controller) => !controller.startsWith("name="));
  if (unified !== undefined && !hasController) return new CgroupV2(unified);
  return v1.size > 0 ? new CgroupV1(v1, unified) : undefined;
}

/** The directory of a membership in the first mount of its hierarchy that shows it. */
function directoryIn({ controllers, path }: Membership, hierarchies: readonly Hierarchy[]): string | undefined {
  for (const hierarchy of hierarchies) {
    const directory = isHierarchyOf(hierarchy, controllers) ? directoryOf(hierarchy, path) : undefined;
    if (directory !== undefined && existsSync(directory)) return directory;
  }
  return undefined;
}
