import { forgetExit } from "../monitor.js";
import { INIT, type Process } from "../process.js";
import type { Reports } from "../reports.js";
import type { Task } from "../task.js";

/** Keeps a process whose exit was told until somebody deletes it: it costs no descriptor, and the next daemon tells nothing of it. */
export function keepStopped(reports: Reports, task: Task, proc: Process): void {
  closeProcess(proc);
  if (proc.id === INIT) {
    task.ownCgroup.forget();
    // What was added will never run.
    for (const exec of task.processes.values()) if (exec.status === "added" && !exec.isStarting) closeProcess(exec);
  }
  reports.whenStored(task, () => proc.markReported());
}

/** Closes what a process has open, and ends the watch for its exit. */
export function closeProcess(proc: Process): void {
  if (proc.isClosed) return;
  forgetExit(proc.exitFd);
  proc.close();
}
