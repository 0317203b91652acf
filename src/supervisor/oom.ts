import { setTimeout as delay } from "node:timers/promises";
import { errorText } from "../linux/libc.js";
import type { OomSubscription } from "../monitor/monitor.js";
import type { Container } from "../runtime/container.js";
import type { Process } from "../runtime/process.js";
import type { Supervisor } from "./supervisor.js";

const KILLED_STATUS = 128 + 9;
/** In ms: how long after a cgroup's removal the kernel may take to say so. */
const REMOVAL_NOTICE = 50;

/** A container's OOM watch. */
export interface ContainerOomWatch {
  /** The container's start is known to all: OOM events that came before are sent now, later ones at once. */
  announce(): void;
  /** Sends what has not been sent yet: to be awaited before the exit of the container's init is told. */
  flush(init: Process): Promise<void>;
  /** Ends the watch. */
  end(): void;
}

/** Watches a container for OOM kills; one that can't be watched is logged. */
export function watchOom(supervisor: Supervisor, container: Container, ignorePast = false): ContainerOomWatch {
  let announced = false;
  let early = 0;
  const send = () => supervisor.emit({ type: "oom", id: container.id });
  const warn = (error: unknown) =>
    supervisor.log.warn({ id: container.id, error: errorText(error) }, "containerd: notify OOM events");
  let subscription: OomSubscription | undefined;
  try {
    const watch = container.cgroup?.watchOom({ ignorePast });
    if (watch !== undefined) {
      const onOom = () => {
        supervisor.log.info({ id: container.id }, "containerd: container out of memory");
        if (announced) send();
        else early++;
      };
      subscription = supervisor.monitor.oom(watch, onOom, warn);
    }
  } catch (error) {
    warn(error);
  }
  return {
    announce() {
      announced = true;
      for (; early > 0; early--) send();
    },
    async flush(init) {
      const killed = init.exitStatus() === KILLED_STATUS && !init.killed;
      if (subscription?.read() !== "removed" || !killed) return;
      // The last signal of v1's eventfd may have been an OOM or the removal; a second one decides that.
      await delay(REMOVAL_NOTICE);
      subscription.read();
    },
    end: () => subscription?.end(),
  };
}
