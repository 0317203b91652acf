import type { StatsResponse } from "../../../proto/containerd.js";
import { type CallOptions, signalCheck } from "../../api/call-options.js";
import { whileLost } from "../../api/lost-daemon.js";
import type { Api } from "../../api/v0.js";
import { ContainerdError } from "../../errors/containerd-error.js";
import { pause, positiveDuration } from "../../options/duration.js";
import { type Checks, checkOptions } from "../../options/option-checks.js";
import { toDate } from "../../timestamp.js";
import type { ContainerParts } from "./container.js";

/** What a container uses, and has used, at one moment. */
export interface ContainerStats {
  /** By the daemon's clock. */
  at: Date;
  cpu: {
    /** Milliseconds of processor time since its start. */
    time: number;
    /** The part of `time` that its programs spent themselves. */
    user: number;
    /** The part of `time` that the kernel spent for them. */
    kernel: number;
    /** Milliseconds that it was held back by its limit. */
    throttled: number;
    /** Processors in use since the sample before: 1 is one processor all the time. Only from the second sample of `watchStats` on. */
    share?: number;
  };
  memory: {
    /** Bytes, file cache included. */
    usage: number;
    /** The most that `usage` has ever been. */
    peak: number;
    /** The part of `usage` that is file cache. */
    cache: number;
    /** Bytes; undefined without a limit. */
    limit: number | undefined;
  };
  pids: { current: number; limit: number | undefined };
  /** Bytes since its start, by interface. Empty with the host's network. */
  network: { name: string; received: number; sent: number }[];
  /** Bytes read from and written to disks since its start. */
  blockIo: { read: number; written: number };
  /** All that the daemon says, as on the wire. */
  raw: StatsResponse;
}

export interface WatchStatsOptions {
  /** Milliseconds between two samples. Default: 1000. With Infinity there is one sample, and the iteration ends with the container. */
  interval?: number | undefined;
  /** Ends the iteration with its reason. */
  signal?: AbortSignal | undefined;
}

const watchStatsChecks: Checks<WatchStatsOptions> = { interval: positiveDuration, signal: signalCheck };

/** Bytes from which a limit is the kernel's way to say that there is none. */
const NO_LIMIT = 2 ** 62;

export function readStats(raw: StatsResponse, before?: ContainerStats): ContainerStats {
  const { cpu_stats, memory_stats, pids_stats, blkio_stats } = raw.cgroup_stats ?? {};
  const milliseconds = (nanoseconds = 0n) => Number(nanoseconds) / 1e6;
  const at = raw.timestamp ? toDate(raw.timestamp) : new Date();
  const time = milliseconds(cpu_stats?.cpu_usage?.total_usage);
  const elapsed = before ? at.getTime() - before.at.getTime() : 0;
  const transferred = (direction: string) =>
    (blkio_stats?.io_service_bytes_recursive ?? [])
      .filter(({ op }) => op.toLowerCase() === direction)
      .reduce((sum, { value }) => sum + Number(value), 0);
  return {
    at,
    cpu: {
      time,
      user: milliseconds(cpu_stats?.cpu_usage?.usage_in_usermode),
      kernel: milliseconds(cpu_stats?.cpu_usage?.usage_in_kernelmode),
      throttled: milliseconds(cpu_stats?.throttling_data?.throttled_time),
      ...(before && elapsed > 0 && { share: Math.max(0, time - before.cpu.time) / elapsed }),
    },
    memory: {
      usage: Number(memory_stats?.usage?.usage ?? 0n),
      peak: Number(memory_stats?.usage?.max_usage ?? 0n),
      cache: Number(memory_stats?.cache ?? 0n),
      limit: limit(memory_stats?.usage?.limit),
    },
    pids: { current: Number(pids_stats?.current ?? 0n), limit: limit(pids_stats?.limit) },
    network: raw.network_stats.map(({ name, rx_bytes, Tx_bytes }) => ({
      name,
      received: Number(rx_bytes),
      sent: Number(Tx_bytes),
    })),
    blockIo: { read: transferred("read"), written: transferred("write") },
    raw,
  };
}

export async function statsOf(api: Api, id: string, options?: CallOptions): Promise<ContainerStats> {
  return readStats(await api.stats({ id }, options));
}

/** One sample at once, then one each `interval`; ends when the container is gone. A daemon that is away is waited for. */
export function watchStats(
  parts: ContainerParts,
  id: string,
  options: WatchStatsOptions = {},
): AsyncGenerator<ContainerStats, void, undefined> {
  checkOptions(options, watchStatsChecks);
  return samples(parts, id, options);
}

async function* samples(
  { api, exits, patience }: ContainerParts,
  id: string,
  { interval = 1000, signal }: WatchStatsOptions,
): AsyncGenerator<ContainerStats, void, undefined> {
  for (let before: ContainerStats | undefined; ; ) {
    const started = performance.now();
    try {
      const raw = await whileLost(() => api.stats({ id }, { signal }), before ? patience : 0, signal);
      before = readStats(raw, before);
    } catch (error) {
      // It has ended: so has the iteration, unless there never was such a container.
      if (before && error instanceof ContainerdError && error.isNotFound) return;
      throw error;
    }
    yield before;
    if (interval === Number.POSITIVE_INFINITY) {
      // There is nothing more to see but its end.
      await exits.waitFor({ id, pid: "init" }, signal).catch((error) => {
        if (!(error instanceof ContainerdError && error.isNotFound)) throw error;
      });
      return;
    }
    await pause(Math.max(0, interval - (performance.now() - started)), signal);
  }
}

function limit(value: bigint | undefined): number | undefined {
  return value === undefined || value === 0n || Number(value) >= NO_LIMIT ? undefined : Number(value);
}
