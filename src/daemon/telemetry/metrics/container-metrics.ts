import { Counter, Gauge, type Registry } from "prom-client";
import { Slices } from "../../../core/scheduling/slices.js";
import type { Tasks } from "../../../core/tasks/tasks.js";
import type { CgroupStats, DeviceCounter } from "../../../system/cgroup/stats.js";

const NANOSECONDS = 1e9;
/** A limit from here on is none: cgroup v1 has 2^63 rounded down to a page for it, v2 has 2^64-1. */
const NO_LIMIT = 2n ** 62n;

interface Family {
  name: string;
  help: string;
  type: "counter" | "gauge";
  /** Undefined: this container has none. */
  read(stats: CgroupStats): number | undefined;
}

const families: readonly Family[] = [
  {
    name: "cpu_usage_seconds_total",
    help: "CPU time of all processes.",
    type: "counter",
    read: ({ cpu }) => seconds(cpu.total),
  },
  {
    name: "cpu_periods_total",
    help: "Periods of the CPU quota.",
    type: "counter",
    read: ({ cpu }) => Number(cpu.periods),
  },
  {
    name: "cpu_throttled_periods_total",
    help: "Periods in which the CPU quota was used up.",
    type: "counter",
    read: ({ cpu }) => Number(cpu.throttledPeriods),
  },
  {
    name: "cpu_throttled_seconds_total",
    help: "How long processes had to wait since the CPU quota was used up.",
    type: "counter",
    read: ({ cpu }) => seconds(cpu.throttledTime),
  },
  {
    name: "memory_usage_bytes",
    help: "Memory, page cache included.",
    type: "gauge",
    read: ({ memory }) => Number(memory.ram.usage),
  },
  {
    name: "memory_cache_bytes",
    help: "Page cache.",
    type: "gauge",
    read: ({ memory }) => Number(memory.cache),
  },
  {
    name: "memory_limit_bytes",
    help: "Limit of the memory; not there without one.",
    type: "gauge",
    read: ({ memory }) => limit(memory.ram.limit),
  },
  {
    name: "memory_limit_hits_total",
    help: "How often the memory's limit was hit.",
    type: "counter",
    read: ({ memory }) => Number(memory.ram.limitHits),
  },
  {
    name: "io_read_bytes_total",
    help: "Read from block devices.",
    type: "counter",
    read: ({ io }) => bytes(io.bytes, "read"),
  },
  {
    name: "io_written_bytes_total",
    help: "Written to block devices.",
    type: "counter",
    read: ({ io }) => bytes(io.bytes, "write"),
  },
  { name: "pids", help: "Processes and threads.", type: "gauge", read: ({ pids }) => Number(pids.current) },
  {
    name: "pids_limit",
    help: "Limit of processes and threads; not there without one.",
    type: "gauge",
    read: ({ pids }) => limit(pids.limit),
  },
];

/**
 * Adds what every single container uses to a registry. One series for each container and family, so only on request.
 * @returns takes a sample: to be called, and waited for, before the registry is read
 */
export function addContainerMetrics(registry: Registry, tasks: Tasks): () => Promise<void> {
  let sample: Sample[] = [];
  for (const { name, help, type, read } of families) {
    const Metric = type === "counter" ? Counter : Gauge;
    new Metric({
      name: `containerd_container_${name}`,
      help: `${help} Of one container's cgroup.`,
      labelNames: ["id", "namespace"],
      registers: [registry],
      collect() {
        // Containers that are gone go.
        this.reset();
        for (const { labels, stats } of sample) {
          const value = read(stats);
          if (value !== undefined) this.inc(labels, value);
        }
      },
    });
  }
  let sampling: Promise<void> | undefined;
  const take = async () => {
    sample = await takeSample(tasks);
  };
  return () => {
    // Two scrapers at a time share one.
    sampling ??= take().finally(() => {
      sampling = undefined;
    });
    return sampling;
  };
}

/** A container at one moment. */
interface Sample {
  labels: { id: string; namespace?: string };
  stats: CgroupStats;
}

async function takeSample(tasks: Tasks): Promise<Sample[]> {
  const sample: Sample[] = [];
  const slices = new Slices();
  for (const { namespace, id, cgroup } of tasks.list()) {
    await slices.next();
    const labels = namespace === "" ? { id } : { id, namespace };
    try {
      if (cgroup !== undefined) sample.push({ labels, stats: cgroup.stats() });
    } catch {
      // It has just exited.
    }
  }
  return sample;
}

function seconds(nanoseconds: bigint): number {
  return Number(nanoseconds) / NANOSECONDS;
}

function limit(value: bigint): number | undefined {
  return value === 0n || value >= NO_LIMIT ? undefined : Number(value);
}

function bytes(counters: readonly DeviceCounter[], wanted: "read" | "write"): number {
  let sum = 0n;
  for (const { operation, value } of counters) if (operation.toLowerCase() === wanted) sum += value;
  return Number(sum);
}
