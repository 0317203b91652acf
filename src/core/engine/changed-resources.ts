import type { Resources } from "./container-config.js";
import { CPU_PERIOD } from "./spec/resources.js";

/** Limits that depend on each other: who changes one has all of them looked at, and set. */
const RELATED: readonly (readonly (keyof Resources)[])[] = [
  ["memory", "memorySwap", "memoryReservation", "memorySwappiness", "kernelMemoryTcp", "oomKillDisable"],
  ["cpus", "cpuPeriod", "cpuQuota", "cpuShares"],
  ["cpuRealtimePeriod", "cpuRealtimeRuntime"],
];

/** A container's limits after a change, with which it can be started. Of what is not given nothing changes. */
export function changedResources(before: Resources, changes: Resources): Resources {
  const { cpus, ...others } = before;
  const { cpuQuota, cpuPeriod } = changes;
  // A number of processors is another way to say quota and period.
  if (changes.cpus !== undefined) {
    const { cpuQuota: _, cpuPeriod: __, ...rest } = others;
    return { ...rest, ...changes };
  }
  if (cpus !== undefined && (cpuQuota ?? cpuPeriod) !== undefined)
    return { ...others, cpuQuota: Math.round(cpus * CPU_PERIOD), cpuPeriod: CPU_PERIOD, ...changes };
  return { ...before, ...changes };
}

/** What of all limits is to be set when some are changed. */
export function withRelated(all: Resources, changes: Resources): Resources {
  const changed = new Set(Object.keys(changes) as (keyof Resources)[]);
  for (const group of RELATED) if (group.some((name) => changed.has(name))) for (const name of group) changed.add(name);
  return Object.fromEntries(Object.entries(all).filter(([name]) => changed.has(name as keyof Resources)));
}
