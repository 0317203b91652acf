import { monitorEventLoopDelay, performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";

/** In ms: how often the delay is measured; one that is shorter is not seen. */
const RESOLUTION = 10;
const NANOSECONDS_PER_MS = 1e6;

/** How the event loop was doing for a while. Times in ms. */
export interface EventLoopStatistics {
  duration: number;
  /** The part of the time that was spent working: 0 to 1. */
  utilization: number;
  /** How much later than asked for a timer ran; 0 when it was in time. */
  delay: {
    samples: number;
    min: number;
    mean: number;
    max: number;
    stddev: number;
    percentiles: Record<string, number>;
  };
  /** What keeps the event loop going at the end, by kind. */
  resources: Record<string, number>;
}

/**
 * @param duration in ms
 * @param signal ends it early: rejects with its reason
 */
export async function measureEventLoop(duration: number, signal: AbortSignal): Promise<EventLoopStatistics> {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION });
  const before = performance.eventLoopUtilization();
  histogram.enable();
  try {
    await delay(duration, undefined, { signal });
  } finally {
    histogram.disable();
  }
  // The histogram holds the time between two measurements, so an undisturbed one is as long as the resolution.
  const late = (nanoseconds: number) =>
    histogram.count === 0 ? 0 : Math.max(0, round(nanoseconds / NANOSECONDS_PER_MS - RESOLUTION));
  return {
    duration,
    utilization: round(performance.eventLoopUtilization(before).utilization),
    delay: {
      samples: histogram.count,
      min: late(histogram.min),
      mean: late(histogram.mean),
      max: late(histogram.max),
      stddev: histogram.count === 0 ? 0 : round(histogram.stddev / NANOSECONDS_PER_MS),
      percentiles: Object.fromEntries([50, 75, 90, 99, 99.9].map((part) => [part, late(histogram.percentile(part))])),
    },
    resources: activeResources(),
  };
}

/** What keeps Node's event loop going (sockets, timers, …), counted by kind. */
export function activeResources(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
