import type { Container } from "../container.js";
import { forgetExit } from "../monitor.js";
import type { Process } from "../process.js";
import type { Supervisor } from "../supervisor.js";
import { release } from "./release.js";

/**
 * Forgets a container whose exit has been told. Its id is free once the operations on it, which its exit does not wait for, have ended too: they may
 * still have something in its directory.
 */
export function deleteContainer(supervisor: Supervisor, container: Container): void {
  supervisor.containers.delete(container.id);
  // Its directory is what tells the exit to a daemon that takes over, until the event is in the log.
  supervisor.events.whenStored(() => {
    // That one has nothing to tell any more.
    container.init?.markReported();
    release(supervisor, container, {
      ready: container.turns.idle(),
      before: () => {
        for (const process of container.processes.values()) closeProcess(process);
        container.processes.clear();
      },
    });
  });
}

/** Forgets an exec whose exit has been told: its name is free again. */
export function deleteExec(supervisor: Supervisor, container: Container, process: Process): void {
  container.processes.delete(process.id);
  closeProcess(process);
  supervisor.events.whenStored(() => {
    const isGone = supervisor.removals.now(process.directory, () => process.removeDirectory());
    if (!isGone) process.markReported();
  });
}

function closeProcess(process: Process): void {
  forgetExit(process.exitFd);
  process.close();
}
