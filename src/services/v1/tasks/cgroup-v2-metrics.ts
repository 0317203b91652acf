import type { IOEntry, Metrics } from "../../../proto/io/containerd/cgroups/v2/metrics.js";
import { UNLIMITED } from "../../../system/cgroup/control-file.js";
import type { CgroupStats, IoStats, MemoryStats } from "../../../system/cgroup/stats.js";

/** What a task uses, in the message that is for cgroup v2. */
export function metricsV2({ cpu, memory, io, hugePages, pids }: CgroupStats): Metrics {
  return {
    pids: { current: pids.current, limit: pids.limit === 0n ? UNLIMITED : pids.limit },
    cpu: {
      usageUsec: microseconds(cpu.total),
      userUsec: microseconds(cpu.user),
      systemUsec: microseconds(cpu.kernel),
      nrPeriods: cpu.periods,
      nrThrottled: cpu.throttledPeriods,
      throttledUsec: microseconds(cpu.throttledTime),
      psi: undefined,
      nrBursts: 0n,
      burstUsec: 0n,
    },
    memory: memoryOf(memory),
    rdma: undefined,
    io: { usage: ioEntries(io), psi: undefined },
    hugetlb: Object.entries(hugePages).map(([pagesize, { usage, limit, limitHits }]) => ({
      ...{ current: usage, max: limit, pagesize, failcnt: limitHits },
    })),
    memoryEvents: eventsOf(memory),
    network: [],
  };
}

function microseconds(nanoseconds: bigint): bigint {
  return nanoseconds / 1000n;
}

function memoryOf({ lines, ram, swap }: MemoryStats): Metrics["memory"] {
  const line = (name: string) => lines[name] ?? 0n;
  return {
    anon: line("anon"),
    file: line("file"),
    kernelStack: line("kernel_stack"),
    slab: line("slab"),
    sock: line("sock"),
    shmem: line("shmem"),
    fileMapped: line("file_mapped"),
    fileDirty: line("file_dirty"),
    fileWriteback: line("file_writeback"),
    anonThp: line("anon_thp"),
    inactiveAnon: line("inactive_anon"),
    activeAnon: line("active_anon"),
    inactiveFile: line("inactive_file"),
    activeFile: line("active_file"),
    unevictable: line("unevictable"),
    slabReclaimable: line("slab_reclaimable"),
    slabUnreclaimable: line("slab_unreclaimable"),
    pgfault: line("pgfault"),
    pgmajfault: line("pgmajfault"),
    // Kernels before 5.9 count these two together.
    workingsetRefault: line("workingset_refault"),
    workingsetActivate: line("workingset_activate"),
    workingsetNodereclaim: line("workingset_nodereclaim"),
    pgrefill: line("pgrefill"),
    pgscan: line("pgscan"),
    pgsteal: line("pgsteal"),
    pgactivate: line("pgactivate"),
    pgdeactivate: line("pgdeactivate"),
    pglazyfree: line("pglazyfree"),
    pglazyfreed: line("pglazyfreed"),
    thpFaultAlloc: line("thp_fault_alloc"),
    thpCollapseAlloc: line("thp_collapse_alloc"),
    usage: ram.usage,
    usageLimit: ram.limit,
    swapUsage: swap.usage,
    swapLimit: swap.limit,
    maxUsage: ram.peak,
    swapMaxUsage: swap.peak,
    psi: undefined,
    workingsetRefaultAnon: line("workingset_refault_anon"),
    workingsetRefaultFile: line("workingset_refault_file"),
    workingsetActivateAnon: line("workingset_activate_anon"),
    workingsetActivateFile: line("workingset_activate_file"),
  };
}

function eventsOf({ events }: MemoryStats): Metrics["memoryEvents"] {
  const { low = 0n, high = 0n, max = 0n, oom = 0n, oom_kill: oomKill = 0n, oom_group_kill: oomGroupKill = 0n } = events;
  return { low, high, max, oom, oomKill, oomGroupKill };
}

/** One for each device. */
function ioEntries({ bytes, requests }: IoStats): IOEntry[] {
  const entries = new Map<string, IOEntry>();
  const add = (counters: IoStats["bytes"], names: Readonly<Record<string, "rbytes" | "wbytes" | "rios" | "wios">>) => {
    for (const { major, minor, operation, value } of counters) {
      const name = names[operation];
      if (name === undefined) continue;
      const device = `${major}:${minor}`;
      let entry = entries.get(device);
      if (entry === undefined) {
        entry = { major: BigInt(major), minor: BigInt(minor), rbytes: 0n, wbytes: 0n, rios: 0n, wios: 0n };
        entries.set(device, entry);
      }
      entry[name] = value;
    }
  };
  add(bytes, { Read: "rbytes", Write: "wbytes" });
  add(requests, { Read: "rios", Write: "wios" });
  return [...entries.values()];
}
