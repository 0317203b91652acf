import { join } from "node:path";
import { Failure } from "../../failure/failure.js";
import type { TaskName } from "../history.js";
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
  /** In ms since the machine has booted: when it is to end; undefined: by itself. It is written down only. */
  endsAt?: number | undefined;
  /** Nobody is told of it. */
  isSilent?: boolean | undefined;
}

/**
 * Adds another process to a task; it does not run yet.
 * @param signal ends the wait for an earlier one of that name to go
 * @throws Failure; nothing is left of it then
 */
export async function addExec(
  { removals }: Pick<Tasks, "removals">,
  task: Task,
  { name, process, stdio, endsAt, isSilent }: ExecRequest,
  signal: AbortSignal,
): Promise<Process> {
  checkIdentifier("process id", name);
  const path = join(task.directory, name);
  await removals.settled(path, signal);
  if (task.processes.has(name)) throw new Failure("already-exists", "name-taken", { what: "process", path });
  task.exited.throwIfAborted();
  return task.addExec(name, process, stdio, {
    ...(endsAt !== undefined && { endsAt }),
    ...(isSilent && { silent: true }),
  });
}

/**
 * Adds an exec that is kept until somebody deletes it.
 * @param signal as {@link addExec}
 * @throws Failure: not-found, already-exists, failed-precondition when its task has stopped
 */
export function addKept(tasks: Tasks, name: TaskName, request: ExecRequest, signal: AbortSignal): Promise<Process> {
  return tasks.operations.run({ kind: "add-exec", id: name.id, pid: request.name }, async () => {
    const task = tasks.get(name);
    task.requireLife();
    const exec = await addExec(tasks, task, request, signal);
    tasks.reports.tellExecAdded(task, exec);
    return exec;
  });
}
