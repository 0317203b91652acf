import type { Supervisor } from "../supervisor.js";

/**
 * Sends a signal to a process of a container.
 * @param pid name of the process
 * @param signal its number; 0 probes
 * @throws Failure: not-found, invalid-argument
 */
export function signalProcess(supervisor: Supervisor, id: string, pid: string, signal: number): void {
  supervisor.operations.run({ kind: "signal", id, pid }, (operation) => {
    operation.doing = `signal ${signal}`;
    supervisor.process(id, pid).signal(signal);
  });
}
