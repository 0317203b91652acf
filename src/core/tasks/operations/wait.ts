import { abortable } from "../../failure/abortable.js";
import { Failure } from "../../failure/failure.js";
import type { Exit, Process } from "../process.js";
import type { Task } from "../task.js";
import type { Tasks } from "../tasks.js";

/**
 * Waits until a process has ended and everybody was told.
 * @param signal ends the wait
 * @throws Failure: not-found when it was deleted without ever having run, unavailable when the daemon stops; the signal's reason
 */
export async function waitForExit(
  { stopping }: Pick<Tasks, "stopping">,
  task: Task,
  proc: Process,
  signal: AbortSignal,
): Promise<Exit> {
  let leave = () => {};
  const over = new Promise<void>((resolve) => {
    leave = proc.whenOver(resolve);
  });
  await abortable(over, signal, stopping).finally(leave);
  if (proc.exit === undefined) throw new Failure("not-found", "process-not-found", { id: task.id, pid: proc.id });
  return proc.exit;
}
