import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { EVENT_TYPES } from "../../../core/tasks/state-directory/event-line.js";
import type { Tasks } from "../../../core/tasks/tasks.js";
import type { OperationKind } from "../../../core/telemetry/operations.js";
import type { Timer } from "../../../core/telemetry/timer.js";
import { epoll } from "../../../system/linux/epoll.js";
import { VERSION } from "../../version.js";
import type { LogOutput } from "../log-output.js";
import { addEventLoopLag } from "./event-loop-lag.js";

/** In seconds: what a runtime has its part in. A start takes 20 ms to a second, and may take --start-timeout. */
const RUNTIME_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
/** In seconds: what the daemon does by itself. */
const OWN_BUCKETS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1];
/** In seconds: mostly the daemon's own work, but an init's exit waits for what is under way on its container. */
const EXIT_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 10];

/** In ms: prom-client's own measurement of the event loop's lag can't be turned off, but made rare. */
const NEVER = 3_600_000;

/** Gauges that prom-client calls `_total`, which is a counter's ending; they tell nothing that the rest does not. */
const MISNAMED_METRICS = [
  "nodejs_active_handles_total",
  "nodejs_active_requests_total",
  "nodejs_active_resources_total",
];

/** The metrics of the daemon in Prometheus' terms. What is there now is read at the scrape, durations as they come. */
export function prometheusRegistry(tasks: Tasks, logOutput: LogOutput): Registry {
  const registry = new Registry();
  const registers = [registry];
  const { metrics, operations } = tasks;
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read());
      },
    });
  const duration = (name: string, help: string, timer: Timer, buckets: number[]) => {
    const histogram = new Histogram({ name, help, registers, buckets });
    timer.listen((milliseconds) => histogram.observe(milliseconds / 1000));
  };

  duration(
    "containerd_container_create_duration_seconds",
    "From the request for a container to the queue of the start workers.",
    metrics.containerCreate,
    OWN_BUCKETS,
  );
  duration(
    "containerd_container_start_duration_seconds",
    "A start worker's part of starting a container, of starts that succeed.",
    metrics.containerStart,
    RUNTIME_BUCKETS,
  );
  duration(
    "containerd_container_delete_duration_seconds",
    "Reporting and removing a container whose processes have all exited.",
    metrics.containerDelete,
    OWN_BUCKETS,
  );
  duration(
    "containerd_network_attach_duration_seconds",
    "Connecting a container with its networks, as far as its start waits for that.",
    metrics.networkAttach,
    OWN_BUCKETS,
  );
  duration(
    "containerd_container_stats_duration_seconds",
    "Reading what one container uses, for a Stats call.",
    metrics.containerStats,
    OWN_BUCKETS,
  );
  duration(
    "containerd_exec_duration_seconds",
    "Starting a process in a running container, of execs that succeed.",
    metrics.execProcess,
    RUNTIME_BUCKETS,
  );
  duration(
    "containerd_exit_duration_seconds",
    "From the end of a process to its exit event.",
    metrics.exitProcess,
    EXIT_BUCKETS,
  );

  new Gauge({
    name: "containerd_containers",
    help: "Containers by status.",
    labelNames: ["status"],
    registers,
    collect() {
      const counts = { created: 0, running: 0, paused: 0, stopped: 0 };
      for (const { status } of tasks.all()) counts[status]++;
      for (const [status, count] of Object.entries(counts)) this.set({ status }, count);
    },
  });
  gauge("containerd_event_subscribers", "Clients that follow the events.", () => tasks.bus.size);
  gauge("containerd_epoll_descriptors", "Descriptors that are watched for exits and OOM.", () => epoll.size);
  gauge("containerd_start_queue_length", "Starts that wait for a worker.", () => tasks.startWorkers.queued);
  new Gauge({
    name: "containerd_operations_running",
    help: "Operations under way, by kind.",
    labelNames: ["kind"],
    registers,
    collect() {
      for (const kind of Object.keys(operations.totals)) this.set({ kind }, 0);
      for (const { kind } of operations.running) this.inc({ kind });
    },
  });
  new Counter({
    name: "containerd_operations_total",
    help: "Operations that have ended since the daemon was started, by kind and result.",
    labelNames: ["kind", "result"],
    registers,
    collect() {
      this.reset();
      for (const kind of Object.keys(operations.totals) as OperationKind[]) {
        const { succeeded, failed } = operations.totals[kind];
        this.inc({ kind, result: "success" }, succeeded);
        this.inc({ kind, result: "failure" }, failed);
      }
    },
  });
  new Counter({
    name: "containerd_events_total",
    help: "Events since the daemon was started, by type.",
    labelNames: ["type"],
    registers,
    collect() {
      this.reset();
      for (const topic of Object.keys(EVENT_TYPES) as (keyof typeof EVENT_TYPES)[])
        this.inc({ type: EVENT_TYPES[topic] }, tasks.events.counts.get(topic) ?? 0);
    },
  });
  new Counter({
    name: "containerd_log_lines_dropped_total",
    help: "Lines of the log that could not be written since the daemon was started.",
    registers,
    collect() {
      this.reset();
      this.inc(logOutput.dropped);
    },
  });
  new Gauge({
    name: "containerd_build_info",
    help: "Always 1; the label has the version.",
    labelNames: ["version"],
    registers,
  }).set({ version: VERSION }, 1);

  // The process: CPU, memory, descriptors; Node: event-loop lag, garbage collection, heap.
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: NEVER });
  addEventLoopLag(registry);
  for (const name of MISNAMED_METRICS) registry.removeSingleMetric(name);
  return registry;
}
