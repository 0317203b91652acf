import type { CgroupStats } from "../../../system/cgroup/stats.js";
import { now } from "../../../system/linux/clock.js";
import { type NetworkStats, readNetworkStats } from "../../../system/linux/proc-net-dev.js";
import { readProcStat } from "../../../system/linux/proc-stat.js";
import { taskNotFound } from "../../failure/failure.js";
import type { TaskName } from "../history.js";
import { runtimeStats } from "../runtime/runtime-stats.js";
import type { Tasks } from "../tasks.js";

export interface TaskStats {
  network: NetworkStats[];
  cgroup: CgroupStats;
  /** Nanoseconds since the epoch. */
  timestamp: bigint;
}

/**
 * What a container uses, from its cgroup and its init's network namespace; from the runtime when it has no cgroup on this host.
 * @throws Failure
 */
export function stats(tasks: Tasks, name: TaskName, signal: AbortSignal): Promise<TaskStats> {
  return tasks.operations.run({ kind: "stats", id: name.id }, () => readStats(tasks, name, signal));
}

async function readStats(tasks: Tasks, name: TaskName, signal: AbortSignal): Promise<TaskStats> {
  const began = performance.now();
  const task = tasks.get(name);
  const timestamp = now();
  try {
    const network = readNetworkStats(task.init?.systemPid ?? 0);
    const cgroup = task.cgroup?.stats() ?? (await runtimeStats(task.runtime, task.id, signal));
    tasks.metrics.containerStats.since(began);
    return { network, cgroup, timestamp };
  } catch (error) {
    // It is just ending: what was to be read is gone, or the runtime knows it no more.
    if (readProcStat(task.init?.systemPid ?? 0)?.exiting !== false) throw taskNotFound(task.id);
    throw error;
  }
}
