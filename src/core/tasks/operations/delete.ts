import { Failure, taskNotFound } from "../../failure/failure.js";
import { release } from "../exit/release.js";
import { closeProcess } from "../exit/stopped.js";
import type { TaskName } from "../history.js";
import { type Exit, INIT, type Process } from "../process.js";
import { isQuickToUnmount } from "../rootfs.js";
import type { Task } from "../task.js";
import type { Tasks } from "../tasks.js";

/** What is known of a process that was deleted. */
export interface DeletedProcess {
  /** On the host; 0 when it never ran. */
  pid: number;
  /** Undefined when it never ran. */
  exit: Exit | undefined;
}

/**
 * Deletes a task that has stopped, or that was created and never started: that one is killed, and its exit told. Its id is free then.
 * Nobody calls it off: what has begun is done.
 * @param waitsForMounts whether an overlay of our own layers, of which nobody else knows, has to be unmounted by then
 * @throws Failure: not-found, failed-precondition while it runs
 */
export function deleteStopped(tasks: Tasks, name: TaskName, waitsForMounts = true): Promise<DeletedProcess> {
  return tasks.operations.run({ kind: "delete", id: name.id }, async (operation) => {
    const task = tasks.get(name);
    const init = task.init!;
    if (init.status === "running" || init.isStarting)
      throw new Failure("failed-precondition", "task-runs", {
        id: name.id,
        status: task.status === "paused" ? "paused" : "running",
      });
    if (init.status === "added") {
      operation.doing = "ending a task that was never started";
      init.kill();
      await new Promise<void>((resolve) => init.whenOver(resolve));
    }
    if (init.stoppedEarlier) {
      operation.doing = "asking the runtime whether it has forgotten it";
      await task.container.deleteRest();
    }
    // Of those who delete a task at the same time one does it.
    if (!tasks.has(task)) throw taskNotFound(task.id);
    const exit = init.exit!;
    tasks.reports.tellDelete(task, init, exit);
    deleteTask(tasks, task);
    operation.doing = "waiting for the end of what is done with it";
    await task.turns.idle();
    operation.doing = "unmounting its root file system";
    const goesByItself = task.isOurRootfs && isQuickToUnmount(task.rootfs, task.directory);
    if (waitsForMounts || !goesByItself) await unmounted(tasks, task);
    return { pid: init.systemPid, exit };
  });
}

/**
 * Deletes an exec that has stopped, or that was added and never started.
 * @throws Failure: not-found, failed-precondition while it runs
 */
export function deleteStoppedExec(tasks: Tasks, name: TaskName, execId: string): DeletedProcess {
  return tasks.operations.run({ kind: "delete", id: name.id, pid: execId }, () => {
    const task = tasks.get(name);
    const exec = task.process(execId);
    if (exec.status === "running" || exec.isStarting || execId === INIT) {
      throw new Failure("failed-precondition", "process-runs", { ...name, pid: execId });
    }
    const { exit, systemPid: pid } = exec;
    deleteExec(tasks, task, exec);
    return { pid, exit };
  });
}

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
  tasks.reports.whenStored(task, () => {
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

/** Resolves when nothing of a task that is being deleted is mounted any more, or can't be unmounted now. */
export async function unmounted({ removals }: Pick<Tasks, "removals">, task: Task): Promise<void> {
  if (task.hasMounts) await removals.settled(task.directory, new AbortController().signal);
}

/** Deletes an exec that has exited, or whose start has failed: its name is free again. */
export function deleteExec(
  { removals, reports }: Pick<Tasks, "removals" | "reports">,
  task: Task,
  exec: Process,
): void {
  if (task.processes.get(exec.id) === exec) task.processes.delete(exec.id);
  closeProcess(exec);
  const remove = () =>
    removals.now(exec.directory, () => {
      if (task.deleteOnExit) exec.removeDirectory();
      else exec.takeAwayDirectory();
    });
  if (exec.status === "added") remove();
  else
    reports.whenStored(task, () => {
      if (!remove()) exec.markReported();
    });
}

/** Deletes a process that has exited, for APIs in which nothing asks for it later; with the init, the task. */
export function deleteProcess(tasks: Tasks, task: Task, proc: Process): void {
  if (proc.id === INIT) deleteTask(tasks, task);
  else deleteExec(tasks, task, proc);
}
