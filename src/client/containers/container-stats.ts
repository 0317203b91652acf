import type { StatsResponse } from "../../proto/containerdts/engine/v1/engine.js";
import { limitedBy } from "../abortable.js";
import { type CallOptions, callChecks } from "../api/call-options.js";
import type { EngineApi } from "../api/engine.js";
import { ContainerdError } from "../errors/containerd-error.js";
import { pause, positiveDuration } from "../options/duration.js";
import { type Checks, checkOptions } from "../options/option-checks.js";
import { toDate } from "../timestamp.js";

/** What a container uses, and has used since its start, at one moment. */
export interface ContainerStats {
  /** By the daemon's clock. */
  at: Date;
  cpu: {
    /** Milliseconds of processor time, as the three that follow. */
    time: number;
    /** The part that its programs spent themselves. */
    user: number;
    /** The part that the kernel spent for them. */
    kernel: number;
    /** How long it was held back by its limit. */
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
    /** How many processes the kernel has killed for lack of memory. */
    oomKills: number;
  };
  pids: { current: number; limit: number | undefined };
  /** Bytes read from and written to disks. */
  blockIo: { read: number; written: number };
}

/** `signal` and `timeout` are about the iteration as a whole, and end it with an error. */
export interface WatchStatsOptions extends CallOptions {
  /** Milliseconds between two samples. Default: 1000. */
  interval?: number | undefined;
}

const watchStatsChecks: Checks<WatchStatsOptions> = { ...callChecks, interval: positiveDuration };

export function statsOf(message: StatsResponse, before?: ContainerStats): ContainerStats {
  const milliseconds = (nanoseconds: bigint) => Number(nanoseconds) / 1e6;
  const limit = (value: bigint) => (value === 0n ? undefined : Number(value));
  const at = message.time ? toDate(message.time) : new Date();
  const time = milliseconds(message.cpuTime);
  const elapsed = before ? at.getTime() - before.at.getTime() : 0;
  return {
    at,
    cpu: {
      time,
      user: milliseconds(message.cpuUser),
      kernel: milliseconds(message.cpuSystem),
      throttled: milliseconds(message.throttledTime),
      ...(before && elapsed > 0 && { share: Math.max(0, time - before.cpu.time) / elapsed }),
    },
    memory: {
      usage: Number(message.memoryUsage),
      peak: Number(message.memoryPeak),
      cache: Number(message.memoryCache),
      limit: limit(message.memoryLimit),
      oomKills: Number(message.oomKills),
    },
    pids: { current: Number(message.pids), limit: limit(message.pidsLimit) },
    blockIo: { read: Number(message.blockRead), written: Number(message.blockWrite) },
  };
}

/** One sample at once, then one each `interval`; ends when the container has stopped. A daemon that is away is waited for. */
export function watchStats(
  api: EngineApi,
  id: string,
  options: WatchStatsOptions = {},
): AsyncGenerator<ContainerStats, void, undefined> {
  checkOptions(options, watchStatsChecks);
  return samples(api, id, options);
}

async function* samples(
  api: EngineApi,
  id: string,
  { interval = 1000, ...call }: WatchStatsOptions,
): AsyncGenerator<ContainerStats, void, undefined> {
  const late = () => new ContainerdError("DEADLINE_EXCEEDED", `watching it was to end within ${call.timeout} ms`);
  const { signal, forget } = limitedBy(call, late);
  try {
    yield* samplesUntil(api, id, interval, signal);
  } finally {
    forget();
  }
}

async function* samplesUntil(
  api: EngineApi,
  id: string,
  interval: number,
  signal: AbortSignal,
): AsyncGenerator<ContainerStats, void, undefined> {
  for (let before: ContainerStats | undefined; ; ) {
    const started = performance.now();
    try {
      const message = await api.again(
        (signal) => api.calls.stats({ id }, { signal }),
        { signal },
        before ? undefined : 0,
      );
      before = statsOf(message, before);
    } catch (error) {
      // It has ended: so has the iteration, unless it never ran.
      const ended = error instanceof ContainerdError && (error.isNotFound || error.code === "FAILED_PRECONDITION");
      if (before && ended) return;
      throw error;
    }
    yield before;
    await pause(Math.max(0, interval - (performance.now() - started)), signal);
  }
}
