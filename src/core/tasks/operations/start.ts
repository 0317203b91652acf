import { concealEnvironment } from "../../failure/log-text.js";
import type { Operation } from "../../telemetry/operations.js";
import { watchOom } from "../exit/oom.js";
import { watchLifetime } from "../lifetime.js";
import { forgetExit, watchExit } from "../monitor.js";
import { abandonInit } from "../shims/abandon.js";
import type { Task } from "../task.js";
import type { Tasks } from "../tasks.js";

/**
 * Lets the process of a task that was created run, or follows the one that was restored from a checkpoint.
 * @param signal ends the attempt
 * @throws Failure; the runtime has forgotten the task then, which is there to be deleted
 */
export async function start(tasks: Tasks, task: Task, signal: AbortSignal, operation: Operation): Promise<void> {
  const began = performance.now();
  const init = task.init!;
  const exited = watchExit(init.exitFd);
  // Before the process runs: an OOM kill right at its start counts too.
  const oom = watchOom(tasks, task);
  operation.doing = "runtime start";
  try {
    if (init.state.checkpoint === "") await init.shim!.start(signal);
  } catch (error) {
    concealEnvironment(error, init.state.env);
    oom.end();
    forgetExit(init.exitFd);
    await abandonInit(task, init, error);
    throw error;
  }
  init.shim!.release();
  init.status = "running";
  // Before all else: whatever fails from here on, the exit is told.
  const flushed = exited.then(() => oom.flush(init));
  init.done = tasks.exits.follow(task, init, flushed).finally(oom.end);
  const duration = task.creationTook + performance.now() - began;
  tasks.metrics.containerStart.observe(duration);
  tasks.log.info(
    { id: task.id, pid: init.id, systemPid: init.systemPid, duration: Math.round(duration) },
    "containerd: container started",
  );
  tasks.reports.tellStart(task, init);
  oom.announce();
  watchLifetime(tasks.log, task);
}
