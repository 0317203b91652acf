import { readdir } from "node:fs/promises";
import type { Tasks } from "../../../core/tasks/tasks.js";
import type { TimerSummary } from "../../../core/telemetry/timer.js";
import { epoll } from "../../../system/linux/epoll.js";

/** All metrics at one moment, by the names that the original has for them (and names of that kind for what it does not have). */
export interface Figures {
  /** Only ever grow, except those of what is there now: the original calls these counters as well. */
  counters: Record<string, number>;
  gauges: Record<string, number>;
  /** In ms. */
  timers: Record<string, TimerSummary>;
}

/** Reads them all. */
export async function readFigures(tasks: Tasks): Promise<Figures> {
  const { metrics, operations } = tasks;
  // Not on the main thread: it may be tens of thousands.
  const descriptors = (await readdir("/proc/self/fd")).length;
  const { rss, heapUsed } = process.memoryUsage();
  let count = operations.running.size;
  let failed = 0;
  for (const totals of Object.values(operations.totals)) {
    count += totals.succeeded + totals.failed;
    failed += totals.failed;
  }
  return {
    counters: {
      containers: tasks.list().length,
      "event-subscribers": tasks.bus.size,
      tasks: count,
      "tasks-failed": failed,
      "epoll-fds": epoll.size,
    },
    gauges: {
      "tasks-running": operations.running.size,
      "start-queue": tasks.startWorkers.queued,
      fds: descriptors,
      "memory-used": rss,
      "heap-used": heapUsed,
    },
    timers: {
      "container-create-time": metrics.containerCreate.summary(),
      "container-start-time": metrics.containerStart.summary(),
      "container-delete-time": metrics.containerDelete.summary(),
      "container-stats-time": metrics.containerStats.summary(),
      "exec-process-time": metrics.execProcess.summary(),
      "exit-process-time": metrics.exitProcess.summary(),
    },
  };
}

/** The parts that percentiles are given for, with go-metrics' names of them. */
export const PERCENTILES = [
  ["50-percentile", 0.5],
  ["75-percentile", 0.75],
  ["95-percentile", 0.95],
  ["99-percentile", 0.99],
  ["999-percentile", 0.999],
] as const;
