import { INIT } from "../process.js";
import type { Supervisor } from "../supervisor.js";

export interface UpdateProcessRequest {
  id: string;
  /** Name of the process; "" is the init. */
  pid: string;
  closeStdin: boolean;
  /** Terminal size in columns and rows; 0 leaves it. */
  width: number;
  height: number;
}

/**
 * Closes a process's stdin, or sets its terminal's size.
 * @throws Failure (not-found)
 */
export function updateProcess(supervisor: Supervisor, request: UpdateProcessRequest): void {
  supervisor.operations.run({ kind: "update-process", id: request.id, pid: request.pid }, () => {
    const process = supervisor.process(request.id, request.pid || INIT);
    if (request.closeStdin) process.closeStdin();
    if (request.width > 0 || request.height > 0) process.resize(request.width, request.height);
  });
}
