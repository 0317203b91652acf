import type { Supervisor } from "../supervisor/supervisor.js";

/** Writes to the log what the daemon is busy with. */
export function logState(supervisor: Supervisor): void {
  const { log } = supervisor;
  log.info(
    {
      containers: supervisor.containers.size,
      queuedStarts: supervisor.startWorkers.queued,
      subscribers: supervisor.subscribers.size,
      watchedDescriptors: supervisor.epoll.size,
      rss: process.memoryUsage.rss(),
    },
    "containerd: state",
  );
  for (const container of supervisor.containers.values()) {
    for (const { id: pid, systemPid } of container.processes.values()) {
      log.info({ id: container.id, pid, systemPid, status: container.status }, "containerd: process");
    }
  }
}
