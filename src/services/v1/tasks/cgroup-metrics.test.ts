import { expect, test } from "vitest";
import { Metrics as MetricsV1 } from "../../../proto/io/containerd/cgroups/v1/metrics.js";
import { Metrics as MetricsV2 } from "../../../proto/io/containerd/cgroups/v2/metrics.js";
import { type CgroupStats, emptyStats, type MemoryStats, type ResourceCounter } from "../../../system/cgroup/stats.js";
import { metricsV1 } from "./cgroup-v1-metrics.js";
import { metricsV2 } from "./cgroup-v2-metrics.js";

let next = 1n;
/** Another one each time. */
const number = () => next++;
const counter = (): ResourceCounter => ({ usage: number(), peak: number(), limitHits: number(), limit: number() });

function stats(version: 1 | 2, lines: Record<string, bigint>, events: Record<string, bigint>): CgroupStats {
  const memory: MemoryStats = {
    ...{ cache: number(), ram: counter(), ramAndSwap: counter(), swap: counter(), kernel: counter() },
    ...{ kernelTcp: counter(), lines, events },
  };
  const device = (operation: string) => ({ major: 8, minor: 16, operation, value: number() });
  return {
    version,
    cpu: {
      ...{ total: 7000n * number(), perCpu: [number()], user: 3000n * number(), kernel: 1000n * number() },
      ...{ periods: number(), throttledPeriods: number(), throttledTime: 5000n * number(), host: number() },
    },
    memory,
    io: { ...emptyStats().io, bytes: [device("Read"), device("Write")], requests: [device("Read"), device("Write")] },
    hugePages: { "2MB": counter() },
    pids: { current: number(), limit: number() },
  };
}

test("each figure of cgroup v1 has its place", () => {
  const lines = { total_rss: number(), hierarchical_memsw_limit: number(), pgmajfault: number() };
  const all = stats(1, lines, { oom_kill_disable: 1n, under_oom: 1n, oom_kill: 3n });
  const { cpu, memory, io, hugePages, pids } = all;
  const entry = ({ usage, peak, limitHits, limit }: ResourceCounter) => ({
    ...{ usage, max: peak, failcnt: limitHits, limit },
  });
  const metrics = MetricsV1.decode(MetricsV1.encode(metricsV1(all)).finish());
  expect(metrics).toMatchObject({
    pids,
    cpu: {
      usage: { total: cpu.total, kernel: cpu.kernel, user: cpu.user, perCpu: cpu.perCpu },
      throttling: {
        periods: cpu.periods,
        throttledPeriods: cpu.throttledPeriods,
        throttledTime: cpu.throttledTime,
      },
    },
    memory: {
      totalRss: lines.total_rss,
      hierarchicalSwapLimit: lines.hierarchical_memsw_limit,
      pgMajFault: lines.pgmajfault,
      usage: entry(memory.ram),
      swap: entry(memory.ramAndSwap),
      kernel: entry(memory.kernel),
      kernelTcp: entry(memory.kernelTcp),
    },
    memoryOomControl: { oomKillDisable: 1n, underOom: 1n, oomKill: 3n },
  });
  expect(metrics.blkio?.ioServiceBytesRecursive).toMatchObject(
    io.bytes.map(({ operation: op, value }) => ({ op, major: 8n, minor: 16n, value })),
  );
  expect(metrics.blkio?.ioServicedRecursive).toHaveLength(2);
  const { usage, peak, limitHits } = hugePages["2MB"]!;
  expect(metrics.hugetlb).toEqual([{ pagesize: "2MB", usage, max: peak, failcnt: limitHits }]);
});

test("each figure of cgroup v2 has its place", () => {
  const lines = { anon: number(), file_mapped: number(), workingset_refault_anon: number() };
  const all = stats(2, lines, { low: 1n, high: 2n, max: 3n, oom: 4n, oom_kill: 5n, oom_group_kill: 6n });
  const { cpu, memory, io, hugePages, pids } = all;
  const metrics = MetricsV2.decode(MetricsV2.encode(metricsV2(all)).finish());
  const [read, write] = io.bytes;
  const [reads, writes] = io.requests;
  const { usage, limit, limitHits } = hugePages["2MB"]!;
  expect(metrics).toMatchObject({
    pids,
    cpu: {
      ...{ usageUsec: cpu.total / 1000n, userUsec: cpu.user / 1000n, systemUsec: cpu.kernel / 1000n },
      ...{ nrPeriods: cpu.periods, nrThrottled: cpu.throttledPeriods, throttledUsec: cpu.throttledTime / 1000n },
    },
    memory: {
      ...{ anon: lines.anon, fileMapped: lines.file_mapped, workingsetRefaultAnon: lines.workingset_refault_anon },
      ...{ usage: memory.ram.usage, usageLimit: memory.ram.limit, maxUsage: memory.ram.peak },
      ...{ swapUsage: memory.swap.usage, swapLimit: memory.swap.limit, swapMaxUsage: memory.swap.peak },
    },
    memoryEvents: { low: 1n, high: 2n, max: 3n, oom: 4n, oomKill: 5n, oomGroupKill: 6n },
    io: {
      usage: [
        {
          ...{ major: 8n, minor: 16n, rbytes: read!.value, wbytes: write!.value },
          ...{ rios: reads!.value, wios: writes!.value },
        },
      ],
    },
    hugetlb: [{ pagesize: "2MB", current: usage, max: limit, failcnt: limitHits }],
  });
});

test("no limit of processes is the largest number on v2", () => {
  expect(metricsV2({ ...emptyStats(), version: 2 }).pids?.limit).toBe(2n ** 64n - 1n);
});
