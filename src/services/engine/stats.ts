import { secondsAndNanos } from "../../contract/go/rfc3339.js";
import type { TaskStats } from "../../core/tasks/operations/stats.js";
import type { StatsResponse } from "../../proto/containerdts/engine/v1/engine.js";
import { machine } from "../../system/linux/machine.js";

/** Larger is no limit: the kernel's own huge numbers. */
const LARGEST_LIMIT = 2n ** 62n;

export function statsMessage({ cgroup, timestamp }: TaskStats): StatsResponse {
  const { cpu, memory, io, pids } = cgroup;
  const { ram, events } = memory;
  const bytes = (operation: string) =>
    io.bytes
      .filter((counter) => counter.operation.toLowerCase() === operation)
      .reduce((sum, { value }) => sum + value, 0n);
  return {
    time: secondsAndNanos(timestamp),
    cpuTime: cpu.total,
    cpuUser: cpu.user,
    cpuSystem: cpu.kernel,
    throttledPeriods: cpu.throttledPeriods,
    throttledTime: cpu.throttledTime,
    memoryUsage: ram.usage,
    memoryLimit: ram.limit >= LARGEST_LIMIT ? 0n : ram.limit,
    memoryPeak: ram.peak,
    memoryCache: memory.cache,
    pids: pids.current,
    pidsLimit: pids.limit,
    blockRead: bytes("read"),
    blockWrite: bytes("write"),
    oomKills: events.oom_kill ?? 0n,
    onlineCpus: machine().cpus,
    systemCpuTime: cpu.host,
  };
}
