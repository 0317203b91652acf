import type { CgroupStats } from "../../../system/cgroup/stats.js";
import { now } from "../../../system/linux/clock.js";
import { type NetworkStats, readNetworkStats } from "../../../system/linux/proc-net-dev.js";
import { readProcStat } from "../../../system/linux/proc-stat.js";
import { containerNotFound } from "../../failure/failure.js";
import { runtimeStats } from "../runtime/runtime-stats.js";
import type { Supervisor } from "../supervisor.js";

export interface ContainerStats {
  network: NetworkStats[];
  cgroup: CgroupStats;
  /** Nanoseconds since the epoch. */
  timestamp: bigint;
}

/**
 * What a container uses, from its cgroup and its init's network namespace; from the runtime when it has no cgroup on this host.
 * @throws Failure
 */
export function stats(supervisor: Supervisor, id: string, signal: AbortSignal): Promise<ContainerStats> {
  return supervisor.operations.run({ kind: "stats", id }, () => readStats(supervisor, id, signal));
}

async function readStats(supervisor: Supervisor, id: string, signal: AbortSignal): Promise<ContainerStats> {
  const began = performance.now();
  const container = supervisor.container(id);
  const timestamp = now();
  try {
    const network = readNetworkStats(container.init?.systemPid ?? 0);
    const cgroup = container.cgroup?.stats() ?? (await runtimeStats(container.runtime, id, signal));
    supervisor.metrics.containerStats.since(began);
    return { network, cgroup, timestamp };
  } catch (error) {
    // It is just ending: what was to be read is gone, or the runtime knows it no more.
    if (readProcStat(container.init?.systemPid ?? 0)?.exiting !== false) throw containerNotFound(id);
    throw error;
  }
}
