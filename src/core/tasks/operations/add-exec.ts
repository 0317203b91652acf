import { join } from "node:path";
import { Failure } from "../../failure/failure.js";
import { checkIdentifier } from "../identifier.js";
import type { Process, Stdio } from "../process.js";
import type { OciProcess } from "../runtime/spec.js";
import type { Task } from "../task.js";
import type { Tasks } from "../tasks.js";

export interface ExecRequest {
  /** The caller's name for the process. */
  name: string;
  process: OciProcess;
  stdio: Stdio;
}

/**
 * Adds another process to a task; it does not run yet.
 * @param signal ends the wait for an earlier one of that name to go
 * @throws Failure; nothing is left of it then
 */
export async function addExec(
  { removals }: Pick<Tasks, "removals">,
  task: Task,
  { name, process, stdio }: ExecRequest,
  signal: AbortSignal,
): Promise<Process> {
  checkIdentifier("process id", name);
  const path = join(task.directory, name);
  await removals.settled(path, signal);
  if (task.processes.has(name)) throw new Failure("already-exists", "name-taken", { what: "process", path });
  task.exited.throwIfAborted();
  return task.addExec(name, process, stdio);
}
