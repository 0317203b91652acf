import { INIT } from "../../core/tasks/process.js";
import type { Tasks } from "../../core/tasks/tasks.js";
import { epoll } from "../../system/linux/epoll.js";
import { activeResources } from "./debug/event-loop.js";

/** Writes to the log what the daemon, every container, every operation and everything that waits is doing. Environments are left out. */
export function logState(tasks: Tasks): void {
  const { log } = tasks;
  log.info(
    {
      containers: tasks.list().length,
      operations: tasks.operations.running.size,
      queuedStarts: tasks.startWorkers.queued,
      subscribers: tasks.bus.size,
      watchedDescriptors: epoll.size,
      rss: process.memoryUsage.rss(),
      resources: activeResources(),
    },
    "containerd: state",
  );
  for (const { id, status, bundle, runtime, processes } of tasks.list()) {
    log.info(
      { id, status, processes: processes.size, bundle, runtime: runtime.name },
      "containerd: state of container",
    );
    for (const { id: pid, systemPid, shim } of processes.values()) {
      log.info(
        {
          id,
          pid,
          systemPid,
          ...(shim === undefined ? {} : { shimPid: shim.child.pid }),
          waitsFor: pid === INIT ? "the end of the container" : "the end of the process",
        },
        "containerd: state of process",
      );
    }
  }
  const now = performance.now();
  for (const { kind, id, pid, since, doing } of tasks.operations.running) {
    log.info(
      { kind, id, ...(pid === undefined ? {} : { pid }), doing, duration: Math.round(now - since) },
      "containerd: state of operation",
    );
  }
  for (const { about, unread } of tasks.bus.backlogs()) {
    log.info({ ...about, waiting: unread }, "containerd: state of event subscriber");
  }
}
