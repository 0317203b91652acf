import { setTimeout as delay } from "node:timers/promises";
import { Failure } from "../../failure/failure.js";
import { logText } from "../../failure/log-text.js";
import { withTimeout } from "../../failure/timeout.js";
import type { Operation } from "../../telemetry/operations.js";
import { closeProcess } from "../exit/stopped.js";
import type { TaskName } from "../history.js";
import { watchExit } from "../monitor.js";
import type { Process } from "../process.js";
import { WATCH_INTERVAL } from "../shims/left-shims.js";
import type { Task } from "../task.js";
import type { Tasks } from "../tasks.js";

/**
 * Runs a process that was added to a task.
 * @param signal ends the attempt
 * @throws Failure; nothing of it runs then, and it is there to be deleted
 */
export async function startExec(
  tasks: Pick<Tasks, "exits" | "log" | "metrics" | "reports" | "startTimeout">,
  task: Task,
  exec: Process,
  signal: AbortSignal,
  operation: Operation,
): Promise<void> {
  operation.doing = "waiting for its turn";
  await task.turns.shared([signal, task.exited], () =>
    withTimeout([signal, task.exited], tasks.startTimeout, "start-timeout", async (limited) => {
      const began = performance.now();
      operation.doing = "runtime exec";
      try {
        limited.throwIfAborted();
        await task.startExec(exec, limited);
        if (task.exited.aborted) {
          // The exit of its task does not wait for an exec whose start was not told.
          exec.kill();
          exec.shim!.child.kill();
          throw task.exited.reason;
        }
      } catch (error) {
        tasks.log.error({ id: task.id, pid: exec.id, error: logText(error) }, "containerd: exec");
        throw error;
      }
      exec.status = "running";
      exec.done = tasks.exits.follow(task, exec, watchExit(exec.exitFd));
      exec.shim!.release();
      tasks.metrics.execProcess.since(began);
      const { id: pid, systemPid } = exec;
      const duration = Math.round(performance.now() - began);
      tasks.reports.tellStart(task, exec);
      tasks.log[exec.isSilent ? "debug" : "info"](
        { id: task.id, pid, systemPid, duration },
        "containerd: process started",
      );
    }),
  );
}

/** Resolves when an exec is not being started, perhaps by a shim of an earlier daemon; it takes as long as a start may. */
export async function startOver(exec: Process): Promise<void> {
  while (exec.isStarting) await delay(WATCH_INTERVAL);
}

/**
 * Runs an exec that was added. Nobody calls that off: when it has failed the exec is there, as one that has stopped.
 * @throws Failure: not-found, failed-precondition when it was started before, or its task has stopped
 */
export function startAdded(tasks: Tasks, name: TaskName, execId: string): Promise<Process> {
  return tasks.operations.run({ kind: "exec", id: name.id, pid: execId }, async (operation) => {
    const task = tasks.get(name);
    const exec = task.process(execId);
    // A client that got no answer from an earlier daemon asks again: it is told what has become of that start, once it is over.
    await startOver(exec);
    if (exec.status !== "added") {
      throw new Failure("failed-precondition", "already-started", { pid: execId, status: exec.status });
    }
    task.requireLife();
    exec.markStarting();
    exec.isStarting = true;
    try {
      await startExec(tasks, task, exec, new AbortController().signal, operation);
    } catch (error) {
      exec.fail();
      closeProcess(exec);
      throw error;
    } finally {
      exec.isStarting = false;
    }
    return exec;
  });
}
