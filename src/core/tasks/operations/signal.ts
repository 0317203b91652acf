import type { TaskName } from "../history.js";
import type { Tasks } from "../tasks.js";

/**
 * Sends a signal to a process of a container.
 * @param pid name of the process
 * @param signal its number; 0 probes
 * @throws Failure: not-found, invalid-argument
 */
export function signalProcess(tasks: Tasks, name: TaskName, pid: string, signal: number): void {
  tasks.operations.run({ kind: "signal", id: name.id, pid }, (operation) => {
    operation.doing = `signal ${signal}`;
    tasks.started(name).runningProcess(pid).signal(signal);
  });
}
