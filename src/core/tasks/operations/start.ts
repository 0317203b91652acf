import { setTimeout as delay } from "node:timers/promises";
import { Failure } from "../../failure/failure.js";
import { concealEnvironment, logText } from "../../failure/log-text.js";
import { withTimeout } from "../../failure/timeout.js";
import type { Operation } from "../../telemetry/operations.js";
import { watchOom } from "../exit/oom.js";
import type { TaskName } from "../history.js";
import { watchLifetime } from "../lifetime.js";
import { forgetExit, watchExit } from "../monitor.js";
import type { Process } from "../process.js";
import { abandonInit, endInit } from "../shims/abandon.js";
import { startWithRuntime } from "../shims/shim.js";
import type { Task } from "../task.js";
import type { Tasks } from "../tasks.js";

/**
 * Lets the process of a task that is just being created run, or follows the one that was restored from a checkpoint.
 * @param signal ends the attempt
 * @throws Failure; the runtime has forgotten the task then, which is there to be deleted
 */
export async function start(tasks: Tasks, task: Task, signal: AbortSignal, operation: Operation): Promise<void> {
  const began = performance.now();
  const init = task.init!;
  const exited = watchExit(init.exitFd);
  try {
    await letRun(tasks, task, init, signal, operation);
  } catch (error) {
    forgetExit(init.exitFd);
    await abandonInit(task, init, error);
    throw error;
  }
  task.isKnown = true;
  init.status = "running";
  // Before all else: whatever fails from here on, the exit is told.
  init.done = tasks.exits.follow(task, init, exited);
  tellRunning(tasks, task, init, began);
}

/**
 * Starts a task that was created, and kept, by this daemon or an earlier one. Nobody calls it off: when it has failed the task has stopped.
 * @throws Failure: not-found, failed-precondition when it was started before
 */
export function startCreated(tasks: Tasks, name: TaskName): Promise<Process> {
  return tasks.operations.run({ kind: "start", id: name.id }, async (operation) => {
    const task = tasks.get(name);
    const init = task.init!;
    if (init.status !== "added" || init.isStarting) {
      throw new Failure("failed-precondition", "already-started", {
        pid: task.id,
        status: init.isStarting ? "running" : init.status,
      });
    }
    init.markStarting();
    await finishStart(tasks, task, init, operation);
    return init;
  });
}

/**
 * Starts a created task, which has the mark of it.
 * @throws Failure; the task has stopped then
 */
export async function finishStart(tasks: Tasks, task: Task, init: Process, operation: Operation): Promise<void> {
  const began = performance.now();
  init.isStarting = true;
  let told = () => {};
  // It may end at once.
  init.startTold = new Promise((resolve) => {
    told = resolve;
  });
  try {
    await withTimeout([], tasks.startTimeout, "start-timeout", (limited) =>
      letRun(tasks, task, init, limited, operation),
    );
    init.status = "running";
    tellRunning(tasks, task, init, began);
  } catch (error) {
    tasks.log.error({ id: task.id, error: logText(error) }, "containerd: start container");
    told();
    await endInit(task, init, error);
    throw error;
  } finally {
    told();
    init.isStarting = false;
  }
}

/** Lets a created init run, whose exit is watched. */
async function letRun(
  tasks: Tasks,
  task: Task,
  init: Process,
  signal: AbortSignal,
  operation: Operation,
): Promise<void> {
  // Before the process runs: an OOM kill right at its start counts too.
  const isEarliers = init.shim === undefined;
  task.oom = watchOom(tasks, task, isEarliers);
  operation.doing = "runtime start";
  try {
    if (init.state.checkpoint !== "") return;
    if (isEarliers) await startForEarlier(task, init, signal);
    else await init.shim!.start(signal);
  } catch (error) {
    concealEnvironment(error, init.state.env);
    task.oom.end();
    throw error;
  }
}

/** In ms: how often the runtime is asked whether somebody else has started a container. */
const INTERVAL = 500;

/**
 * Starts what an earlier daemon has created, and may have been about to start: its shim may have done so by now, or be just doing it. Of
 * two calls of a runtime that start the same container one may wait for its end.
 */
async function startForEarlier(task: Task, init: Process, signal: AbortSignal): Promise<void> {
  const over = new AbortController();
  const limited = AbortSignal.any([signal, over.signal]);
  const hasRun = async () => {
    const state = await task.runtime.state(task.id, { signal: limited });
    // The shim writes the status down before it has the runtime forget the container.
    return state?.status === undefined ? init.exitStatus() !== undefined : state.status !== "created";
  };
  const byAnother = async () => {
    do await delay(INTERVAL, undefined, { signal: limited });
    while (!(await hasRun()));
  };
  try {
    const byUs = startWithRuntime(task.runtime, task.id, init.directory, limited).catch(async (error) => {
      if (over.signal.aborted || !(await hasRun())) throw error;
    });
    const another = byAnother().catch((error) => {
      throw signal.aborted ? signal.reason : error;
    });
    // One of the two is called off.
    for (const either of [byUs, another]) either.catch(() => {});
    await Promise.race([byUs, another]);
  } finally {
    over.abort();
  }
}

function tellRunning(tasks: Tasks, task: Task, init: Process, began: number): void {
  init.shim?.release();
  const duration = task.creationTook + performance.now() - began;
  tasks.metrics.containerStart.observe(duration);
  tasks.log.info(
    { id: task.id, pid: init.id, systemPid: init.systemPid, duration: Math.round(duration) },
    "containerd: container started",
  );
  tasks.reports.tellStart(task, init);
  task.oom?.announce();
  watchLifetime(tasks.log, task);
}
