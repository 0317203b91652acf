import { setTimeout as delay } from "node:timers/promises";
import { errorText } from "../../../system/linux/libc.js";
import type { Container } from "../container.js";
import type { Supervisor } from "../supervisor.js";

/** In ms: how long the first pause is after a runtime could not let go of a container; each is twice the one before. */
const FIRST_PAUSE = 100;
const LONGEST_PAUSE = 30_000;

export interface ReleaseOptions {
  /** Never rejects; the directory stays until it is settled. */
  ready?: Promise<void>;
  /** What is done right before the directory goes; may be called any number of times. */
  before?: () => void;
}

/**
 * Removes the directory of a container that is over and told: its id is free then. When the runtime, or the kernel with its cgroup, has not let go of
 * it, that is tried again until it has, also by the next daemon.
 */
export function release(supervisor: Supervisor, container: Container, { ready, before }: ReleaseOptions = {}): void {
  const remove = () => {
    before?.();
    container.removeDirectory();
  };
  const { removals } = supervisor;
  if (container.held) {
    markEnded(supervisor, container);
    void letGo(supervisor, container).then(() =>
      removals.after(ready ?? Promise.resolve(), container.directory, remove),
    );
  } else if (ready === undefined) {
    removals.now(container.directory, remove);
  } else {
    removals.after(ready, container.directory, remove);
  }
}

function markEnded(supervisor: Supervisor, container: Container): void {
  supervisor.log.warn({ id: container.id }, "containerd: the runtime does not let go of the container; trying again");
  try {
    container.markEnded();
  } catch (error) {
    supervisor.log.error({ id: container.id, error: errorText(error) }, "containerd: mark as ended");
  }
}

/** Resolves when the runtime has let go. */
async function letGo(supervisor: Supervisor, container: Container): Promise<void> {
  for (let pause = FIRST_PAUSE; container.held; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
    await delay(pause, undefined, { ref: false });
    await container.deleteFromRuntime();
  }
  supervisor.log.info({ id: container.id }, "containerd: the runtime has let go of the container");
}

/** For a container that an earlier daemon has marked as ended. */
export function releaseRest(supervisor: Supervisor, container: Container): void {
  container.held = true;
  release(supervisor, container);
}
