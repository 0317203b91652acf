import type { BlkIOEntry, MemoryEntry, Metrics } from "../../../proto/io/containerd/cgroups/v1/metrics.js";
import type { CgroupStats, DeviceCounter, MemoryStats, ResourceCounter } from "../../../system/cgroup/stats.js";
import { blockDeviceName } from "../../../system/linux/block-device.js";

/** What a task uses, in the message that is for cgroup v1. */
export function metricsV1({ cpu, memory, io, hugePages, pids }: CgroupStats): Metrics {
  const { total, kernel, user, perCpu, periods, throttledPeriods, throttledTime } = cpu;
  return {
    hugetlb: Object.entries(hugePages).map(([pagesize, { usage, peak, limitHits }]) => ({
      ...{ usage, max: peak, failcnt: limitHits, pagesize },
    })),
    pids,
    cpu: { usage: { total, kernel, user, perCpu }, throttling: { periods, throttledPeriods, throttledTime } },
    memory: memoryOf(memory),
    blkio: {
      ioServiceBytesRecursive: io.bytes.map(entry),
      ioServicedRecursive: io.requests.map(entry),
      ioQueuedRecursive: io.queued.map(entry),
      ioServiceTimeRecursive: io.serviceTime.map(entry),
      ioWaitTimeRecursive: io.waitTime.map(entry),
      ioMergedRecursive: io.merged.map(entry),
      ioTimeRecursive: io.time.map(entry),
      sectorsRecursive: io.sectors.map(entry),
    },
    rdma: undefined,
    network: [],
    cgroupStats: undefined,
    memoryOomControl: {
      oomKillDisable: memory.events.oom_kill_disable ?? 0n,
      underOom: memory.events.under_oom ?? 0n,
      oomKill: memory.events.oom_kill ?? 0n,
    },
  };
}

function memoryOf({ lines, ram, ramAndSwap, kernel, kernelTcp }: MemoryStats): Metrics["memory"] {
  const line = (name: string) => lines[name] ?? 0n;
  return {
    cache: line("cache"),
    rss: line("rss"),
    rssHuge: line("rss_huge"),
    mappedFile: line("mapped_file"),
    dirty: line("dirty"),
    writeback: line("writeback"),
    pgPgIn: line("pgpgin"),
    pgPgOut: line("pgpgout"),
    pgFault: line("pgfault"),
    pgMajFault: line("pgmajfault"),
    inactiveAnon: line("inactive_anon"),
    activeAnon: line("active_anon"),
    inactiveFile: line("inactive_file"),
    activeFile: line("active_file"),
    unevictable: line("unevictable"),
    hierarchicalMemoryLimit: line("hierarchical_memory_limit"),
    hierarchicalSwapLimit: line("hierarchical_memsw_limit"),
    totalCache: line("total_cache"),
    totalRss: line("total_rss"),
    totalRssHuge: line("total_rss_huge"),
    totalMappedFile: line("total_mapped_file"),
    totalDirty: line("total_dirty"),
    totalWriteback: line("total_writeback"),
    totalPgPgIn: line("total_pgpgin"),
    totalPgPgOut: line("total_pgpgout"),
    totalPgFault: line("total_pgfault"),
    totalPgMajFault: line("total_pgmajfault"),
    totalInactiveAnon: line("total_inactive_anon"),
    totalActiveAnon: line("total_active_anon"),
    totalInactiveFile: line("total_inactive_file"),
    totalActiveFile: line("total_active_file"),
    totalUnevictable: line("total_unevictable"),
    usage: counter(ram),
    swap: counter(ramAndSwap),
    kernel: counter(kernel),
    kernelTcp: counter(kernelTcp),
  };
}

function counter({ usage, peak, limitHits, limit }: ResourceCounter): MemoryEntry {
  return { limit, usage, max: peak, failcnt: limitHits };
}

function entry({ major, minor, operation: op, value }: DeviceCounter): BlkIOEntry {
  return { op, device: blockDeviceName(major, minor), major: BigInt(major), minor: BigInt(minor), value };
}
