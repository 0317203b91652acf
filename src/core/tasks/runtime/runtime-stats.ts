import { hostCpuTime } from "../../../system/cgroup/host-cpu.js";
import {
  type CgroupStats,
  type DeviceCounter,
  emptyStats,
  type ResourceCounter,
} from "../../../system/cgroup/stats.js";
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
    memory?: { cache?: Count; usage?: Counted; swap?: Counted; kernel?: Counted; raw?: Record<string, Count> | null };
    pids?: { current?: Count; limit?: Count };
    blkio?: Record<string, { major?: Count; minor?: Count; op?: string; value?: Count }[] | null>;
    hugetlb?: Record<string, Counted> | null;
  };
}

type Count = number | bigint;

/** Of huge pages runc tells no limit. */
interface Counted {
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
  const empty = emptyStats();
  return {
    ...empty,
    cpu: {
      total: count(cpu?.usage?.total),
      perCpu: (cpu?.usage?.percpu ?? []).map(count),
      user: count(cpu?.usage?.user),
      kernel: count(cpu?.usage?.kernel),
      periods: count(cpu?.throttling?.periods),
      throttledPeriods: count(cpu?.throttling?.throttledPeriods),
      throttledTime: count(cpu?.throttling?.throttledTime),
      host: hostCpuTime(),
    },
    memory: {
      ...empty.memory,
      cache: count(memory?.cache),
      ram: counter(memory?.usage),
      ramAndSwap: counter(memory?.swap),
      kernel: counter(memory?.kernel),
      lines: Object.fromEntries(Object.entries(memory?.raw ?? {}).map(([name, value]) => [name, count(value)])),
    },
    io: {
      bytes: deviceCounters(blkio?.ioServiceBytesRecursive),
      requests: deviceCounters(blkio?.ioServicedRecursive),
      queued: deviceCounters(blkio?.ioQueueRecursive),
      serviceTime: deviceCounters(blkio?.ioServiceTimeRecursive),
      waitTime: deviceCounters(blkio?.ioWaitTimeRecursive),
      merged: deviceCounters(blkio?.ioMergedRecursive),
      time: deviceCounters(blkio?.ioTimeRecursive),
      sectors: deviceCounters(blkio?.sectorsRecursive),
    },
    hugePages: Object.fromEntries(Object.entries(hugetlb ?? {}).map(([size, pages]) => [size, counter(pages)])),
    pids: { current: count(pids?.current), limit: count(pids?.limit) },
  };
}

function count(value: Count | undefined): bigint {
  return BigInt(value ?? 0);
}

function counter(counted: Counted | undefined): ResourceCounter {
  return {
    usage: count(counted?.usage),
    peak: count(counted?.max),
    limitHits: count(counted?.failcnt),
    limit: count(counted?.limit),
  };
}

function deviceCounters(
  list: { major?: Count; minor?: Count; op?: string; value?: Count }[] | null | undefined,
): DeviceCounter[] {
  return (list ?? []).map(({ major, minor, op, value }) => ({
    major: Number(major ?? 0),
    minor: Number(minor ?? 0),
    operation: op ?? "",
    value: count(value),
  }));
}
