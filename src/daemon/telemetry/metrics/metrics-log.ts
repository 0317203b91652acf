import type { Tasks } from "../../../core/tasks/tasks.js";
import type { TimerSummary } from "../../../core/telemetry/timer.js";
import { PERCENTILES, readFigures } from "./figures.js";

/**
 * Writes all metrics to the log, again and again: one line with all numbers, and one for each timer.
 * @param interval in ms
 * @returns ends it
 */
export function logMetrics(tasks: Tasks, interval: number): () => void {
  const timer = setInterval(() => void write(tasks), interval);
  timer.unref();
  return () => clearInterval(timer);
}

async function write(tasks: Tasks): Promise<void> {
  const { counters, gauges, timers } = await readFigures(tasks);
  tasks.log.info({ ...counters, ...gauges }, "containerd: metrics");
  for (const [metric, summary] of Object.entries(timers)) {
    tasks.log.info({ metric, ...timerFields(summary) }, "containerd: metrics");
  }
}

/** Durations in ms, to the microsecond. */
function timerFields(summary: TimerSummary) {
  const round = (value: number) => Math.round(value * 1000) / 1000;
  return {
    count: summary.count,
    min: round(summary.min),
    max: round(summary.max),
    mean: round(summary.mean),
    "std-dev": round(summary.standardDeviation),
    ...Object.fromEntries(PERCENTILES.map(([name, part]) => [name, round(summary.percentile(part))])),
  };
}
