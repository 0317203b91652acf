import { release } from "../exit/release.js";
import { forgetExit } from "../monitor.js";
import { INIT, type Process } from "../process.js";
import type { Task } from "../task.js";
import type { Tasks } from "../tasks.js";

/**
 * Deletes a task that has exited, or whose creation or start has failed. Its id is free once the operations on it have ended, which an exit
 * does not wait for: they may still use files in its directory.
 */
export function deleteTask(tasks: Tasks, task: Task): void {
  tasks.remove(task);
  const { init } = task;
  if (init === undefined) {
    // Nobody was told of it.
    release(tasks, task);
    return;
  }
  // Its directory is what tells the exit to a daemon that takes over, until the event is in the log.
  tasks.reports.whenStored(() => {
    // That one has nothing to tell any more.
    init.markReported();
    release(tasks, task, {
      ready: task.turns.idle(),
      before: () => {
        for (const proc of task.processes.values()) closeProcess(proc);
        task.processes.clear();
      },
    });
  });
}

/** Deletes an exec that has exited, or whose start has failed: its name is free again. */
export function deleteExec(
  { removals, reports }: Pick<Tasks, "removals" | "reports">,
  task: Task,
  exec: Process,
): void {
  if (task.processes.get(exec.id) === exec) task.processes.delete(exec.id);
  closeProcess(exec);
  const remove = () => removals.now(exec.directory, () => exec.removeDirectory());
  if (exec.status === "added") remove();
  else
    reports.whenStored(() => {
      if (!remove()) exec.markReported();
    });
}

/** Deletes a process that has exited, for APIs in which nothing asks for it later; with the init, the task. */
export function deleteProcess(tasks: Tasks, task: Task, proc: Process): void {
  if (proc.id === INIT) deleteTask(tasks, task);
  else deleteExec(tasks, task, proc);
}

function closeProcess(proc: Process): void {
  forgetExit(proc.exitFd);
  proc.close();
}
