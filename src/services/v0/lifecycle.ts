import type { TaskName } from "../../core/tasks/history.js";
import { checkIdentifier } from "../../core/tasks/identifier.js";
import { addExec, type ExecRequest } from "../../core/tasks/operations/add-exec.js";
import { type CreateRequest, create } from "../../core/tasks/operations/create.js";
import { deleteExec } from "../../core/tasks/operations/delete.js";
import { start } from "../../core/tasks/operations/start.js";
import { startExec } from "../../core/tasks/operations/start-exec.js";
import type { Process } from "../../core/tasks/process.js";
import type { OciProcess } from "../../core/tasks/runtime/spec.js";
import type { Task } from "../../core/tasks/task.js";
import type { Tasks } from "../../core/tasks/tasks.js";

/** containerd 0.2 knows no namespaces. */
export const nameOf = (id: string): TaskName => ({ namespace: "", id });

/**
 * In 0.2 a start is both create and start, and an exit deletes the container.
 * @param signal ends the attempt
 * @throws Failure; nothing is left then
 */
export function createAndStart(
  tasks: Tasks,
  request: Omit<CreateRequest, "namespace" | "deleteOnExit">,
  signal: AbortSignal,
): Promise<Task> {
  return tasks.operations.run({ kind: "start", id: request.id }, (operation) =>
    create(tasks, { ...request, namespace: "", deleteOnExit: true }, signal, operation, (task, limited) =>
      start(tasks, task, limited, operation),
    ),
  );
}

/**
 * Adds a process to a container, and starts it.
 * @param ask makes the request, given the container's init, whose settings are the defaults
 * @param signal ends the attempt
 * @throws Failure; nothing is left then
 */
export function addAndStart(
  tasks: Tasks,
  id: string,
  name: string,
  ask: (init: OciProcess | undefined) => Omit<ExecRequest, "name">,
  signal: AbortSignal,
): Promise<Process> {
  return tasks.operations.run({ kind: "exec", id, pid: name }, async (operation) => {
    checkIdentifier("container id", id);
    checkIdentifier("process id", name);
    const task = tasks.get(nameOf(id));
    const request = { name, ...ask(task.init?.state) };
    const exec = await addExec(tasks, task, request, signal);
    try {
      await startExec(tasks, task, exec, signal, operation);
    } catch (error) {
      deleteExec(tasks, task, exec);
      throw error;
    }
    return exec;
  });
}
