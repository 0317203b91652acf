import { bootId } from "../../system/linux/boot-id.js";
import { isAlive, startTimeOf } from "../../system/linux/proc-stat.js";

/** A program that owns containers. These three identify a process also after its pid was reused. */
export interface Owner {
  /** As this daemon's pid namespace numbers it. */
  pid: number;
  /** Field 22 of /proc/<pid>/stat. */
  startTime: string;
  /** Which boot of the machine those two count in. */
  bootId: string;
}

/** The process that has this pid now; undefined when there is none, or its namespace is one that we do not see (pid 0). */
export function ownerOf(pid: number): Owner | undefined {
  if (pid <= 0) return undefined;
  const startTime = startTimeOf(pid);
  return startTime === undefined ? undefined : { pid, startTime, bootId: bootId() };
}

export function isOwnerAlive({ pid, startTime, bootId: boot }: Owner): boolean {
  return boot === bootId() && isAlive(pid, startTime);
}

/** What `owner` in a state.json says; undefined when it is no owner. */
export function parseOwner(value: unknown): Owner | undefined {
  const { pid, startTime, bootId: boot } = (value ?? {}) as Partial<Owner>;
  if (!Number.isSafeInteger(pid) || pid! <= 0 || typeof startTime !== "string" || typeof boot !== "string")
    return undefined;
  return { pid: pid!, startTime, bootId: boot };
}
