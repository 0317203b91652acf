import type { EventType } from "../events/event.js";
import { Timer } from "./timer.js";

/** What the supervisor counts, for whoever exports it. What is there at the moment (containers, subscribers, …) is read from the supervisor itself. */
export class Metrics {
  /** From the request to the queue: checks, the container's directory and its state.json. */
  readonly containerCreate = new Timer();
  /** A start worker's part: shim, runtime, cgroup watch; of starts that succeed. */
  readonly containerStart = new Timer();
  /** The end of a container once all of its processes have been reported: exit event, directory, descriptors. */
  readonly containerDelete = new Timer();
  readonly containerStats = new Timer();
  /** Execs that succeed, without their wait for a turn. */
  readonly execProcess = new Timer();
  /** From the shim's end until the exit has been reported, of inits and execs. */
  readonly exitProcess = new Timer();
  /** Since the daemon was started. */
  readonly events: Record<EventType, number> = {
    exit: 0,
    oom: 0,
    pause: 0,
    resume: 0,
    "start-container": 0,
    "start-process": 0,
  };
}
