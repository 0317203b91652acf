import { hostCpuTime } from "../../../system/cgroup/host-cpu.js";
import type { BlkioStatsEntry, CgroupStats, MemoryData } from "../../../system/cgroup/stats.js";
import { Failure } from "../../failure/failure.js";
import { parseJson } from "../../files/json.js";
import type { OciRuntime } from "./oci-runtime.js";

/** What `runc events --stats` prints; each part may be missing. */
interface RuntimeEvent {
  data?: {
    cpu?: {
      usage?: { total?: Count; percpu?: Count[] | null; kernel?: Count; user?: Count };
      throttling?: { periods?: Count; throttledPeriods?: Count; throttledTime?: Count };
    };
    memory?: { cache?: Count; usage?: Memory; swap?: Memory; kernel?: Memory; raw?: Record<string, Count> | null };
    pids?: { current?: Count; limit?: Count };
    blkio?: Record<string, { major?: Count; minor?: Count; op?: string; value?: Count }[] | null>;
    hugetlb?: Record<string, { usage?: Count; max?: Count; failcnt?: Count }> | null;
  };
}

type Count = number | bigint;

interface Memory {
  limit?: Count;
  usage?: Count;
  max?: Count;
  failcnt?: Count;
}

/**
 * A container's numbers as its runtime counts them: for containers without a cgroup on this host (a VM runtime).
 * @throws Failure (internal) when the runtime fails or answers something else
 */
export async function runtimeStats(runtime: OciRuntime, id: string, signal: AbortSignal): Promise<CgroupStats> {
  const text = await runtime.stats(id, { signal });
  try {
    return cgroupStats(parseJson(text) as RuntimeEvent);
  } catch (error) {
    throw new Failure(
      "internal",
      "runtime-unreadable",
      { call: `${runtime.name} events --stats`, why: (error as Error).message },
      { cause: error },
    );
  }
}

function cgroupStats({ data = {} }: RuntimeEvent): CgroupStats {
  const { cpu, memory, pids, blkio, hugetlb } = data;
  return {
    cpu_stats: {
      cpu_usage: {
        total_usage: count(cpu?.usage?.total),
        percpu_usage: (cpu?.usage?.percpu ?? []).map(count),
        usage_in_kernelmode: count(cpu?.usage?.kernel),
        usage_in_usermode: count(cpu?.usage?.user),
      },
      throttling_data: {
        periods: count(cpu?.throttling?.periods),
        throttled_periods: count(cpu?.throttling?.throttledPeriods),
        throttled_time: count(cpu?.throttling?.throttledTime),
      },
      system_usage: hostCpuTime(),
    },
    memory_stats: {
      cache: count(memory?.cache),
      usage: memoryData(memory?.usage),
      swap_usage: memoryData(memory?.swap),
      kernel_usage: memoryData(memory?.kernel),
      stats: Object.fromEntries(Object.entries(memory?.raw ?? {}).map(([name, value]) => [name, count(value)])),
    },
    blkio_stats: {
      io_service_bytes_recursive: entries(blkio?.ioServiceBytesRecursive),
      io_serviced_recursive: entries(blkio?.ioServicedRecursive),
      io_queued_recursive: entries(blkio?.ioQueueRecursive),
      io_service_time_recursive: entries(blkio?.ioServiceTimeRecursive),
      io_wait_time_recursive: entries(blkio?.ioWaitTimeRecursive),
      io_merged_recursive: entries(blkio?.ioMergedRecursive),
      io_time_recursive: entries(blkio?.ioTimeRecursive),
      sectors_recursive: entries(blkio?.sectorsRecursive),
    },
    hugetlb_stats: Object.fromEntries(
      Object.entries(hugetlb ?? {}).map(([size, { usage, max, failcnt }]) => [
        size,
        { usage: count(usage), max_usage: count(max), failcnt: count(failcnt), limit: 0n },
      ]),
    ),
    pids_stats: { current: count(pids?.current), limit: count(pids?.limit) },
  };
}

function count(value: Count | undefined): bigint {
  return BigInt(value ?? 0);
}

function memoryData(memory: Memory | undefined): MemoryData {
  return {
    usage: count(memory?.usage),
    max_usage: count(memory?.max),
    failcnt: count(memory?.failcnt),
    limit: count(memory?.limit),
  };
}

function entries(
  list: { major?: Count; minor?: Count; op?: string; value?: Count }[] | null | undefined,
): BlkioStatsEntry[] {
  return (list ?? []).map(({ major, minor, op, value }) => ({
    major: count(major),
    minor: count(minor),
    op: op ?? "",
    value: count(value),
  }));
}
