import { Timer } from "./timer.js";

/** How long things take, for whoever exports it. What is there at the moment (tasks, subscribers, …) is read from its owner. */
export class Metrics {
  /** From the request to the queue: checks, the container's directory and its state.json. */
  readonly containerCreate = new Timer();
  /** A start worker's part: shim, runtime, cgroup watch; of starts that succeed. */
  readonly containerStart = new Timer();
  /** The end of a container once all of its processes have been reported: exit event, directory, descriptors. */
  readonly containerDelete = new Timer();
  /** What a start waits for between the runtime's create and the start of its process: devices, rules, names. */
  readonly networkAttach = new Timer();
  readonly containerStats = new Timer();
  /** Execs that succeed, without their wait for a turn. */
  readonly execProcess = new Timer();
  /** From the shim's end until the exit has been reported, of inits and execs. */
  readonly exitProcess = new Timer();
}
