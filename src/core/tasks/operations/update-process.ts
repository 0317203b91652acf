import type { TaskName } from "../history.js";
import { INIT } from "../process.js";
import type { Tasks } from "../tasks.js";

export interface UpdateProcessRequest extends TaskName {
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
export function updateProcess(tasks: Tasks, request: UpdateProcessRequest): void {
  tasks.operations.run({ kind: "update-process", id: request.id, pid: request.pid }, () => {
    const proc = tasks.get(request).process(request.pid || INIT);
    if (request.closeStdin) proc.closeStdin();
    if (request.width > 0 || request.height > 0) proc.resize(request.width, request.height);
  });
}
