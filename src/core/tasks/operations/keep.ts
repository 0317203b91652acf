import { forgetExit, watchExit } from "../monitor.js";
import { abandonInit } from "../shims/abandon.js";
import type { Task } from "../task.js";
import type { Tasks } from "../tasks.js";

/**
 * Keeps a task that was created, whatever becomes of this daemon, until somebody starts or deletes it; its end is followed from here on.
 * @throws a system error; the runtime has forgotten the task then, which is there to be deleted
 */
export async function keepCreated(tasks: Pick<Tasks, "exits" | "reports">, task: Task): Promise<void> {
  const init = task.init!;
  const exited = watchExit(init.exitFd);
  try {
    // What has no such mark, the shim and the next daemon undo.
    init.markCreated();
  } catch (error) {
    forgetExit(init.exitFd);
    await abandonInit(task, init, error);
    throw error;
  }
  init.shim!.keep();
  task.isKnown = true;
  init.done = tasks.exits.follow(task, init, exited);
  tasks.reports.tellCreate(task, init);
}
