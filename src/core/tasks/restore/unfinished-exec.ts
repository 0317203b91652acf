import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { errorText } from "../../../system/linux/libc.js";
import { requireDescriptors } from "../../../system/linux/reserved-descriptors.js";
import { withTimeout } from "../../failure/timeout.js";
import type { Operation } from "../../telemetry/operations.js";
import { hasMark, Process } from "../process.js";
import { endShims, shimsOf, WATCH_INTERVAL } from "../shims/left-shims.js";
import { removeTree } from "../state-directory/partial-directory.js";
import type { Task } from "../task.js";
import type { Tasks } from "../tasks.js";
import { keepTrying } from "./keep-trying.js";
import { findIdentity, follow, loadProcess } from "./restore-process.js";

/**
 * Follows an exec that was being created when its daemon died: its shim goes on. Waits until the shim has created the process, or has
 * exited; then the exec is taken over, or ended.
 */
export async function adoptExec(tasks: Tasks, task: Task, name: string, operation: Operation): Promise<void> {
  operation.doing = "waiting for an exec of an earlier daemon";
  try {
    await task.turns.shared([task.exited], () =>
      withTimeout([task.exited], tasks.startTimeout, "start-timeout", async (signal) => {
        const identity = await waitForIdentity(task, name, signal);
        if (identity === undefined) throw new Error("its shim ended");
        const exec = loadProcess(task, name, identity);
        task.processes.set(name, exec);
        tasks.reports.tellStartOnce(task, exec);
        follow(tasks, task, exec);
      }),
    );
  } catch (error) {
    tasks.log.warn({ id: task.id, pid: name, error: errorText(error) }, "containerd: exec was not started");
    await endLostExec(tasks, task, name);
  }
}

async function waitForIdentity(task: Task, name: string, signal: AbortSignal) {
  const directory = join(task.directory, name);
  for (;;) {
    if (!hasDescriptors()) {
      await delay(WATCH_INTERVAL, undefined, { signal });
      continue;
    }
    // The shims first: one may write the pid and exit in between.
    const shims = shimsOf(task, name);
    const identity = findIdentity(task, name);
    if (identity !== undefined || shims.length === 0) return identity;
    if (hasMark(directory, "started")) throw new Error("nobody knows which process it is");
    await delay(WATCH_INTERVAL, undefined, { signal });
  }
}

/** Without free descriptors /proc and the process directory can't be read. */
function hasDescriptors(): boolean {
  try {
    requireDescriptors();
    return true;
  } catch {
    return false;
  }
}

/**
 * Ends an exec that can't be watched: its shim, and all that the shim has started. Then its exit is told if its start was, and only then
 * its name is free, or is that of one that has stopped, where such are kept. Never rejects.
 */
export async function endLostExec(tasks: Tasks, task: Task, name: string): Promise<void> {
  const directory = join(task.directory, name);
  const ended = endAndTell(tasks, task, name);
  if (!task.deleteOnExit && existsSync(directory)) {
    await ended;
    const exec = Process.loadStopped(directory, name, findIdentity(task, name));
    task.processes.set(name, exec);
    exec.markFailed();
    return;
  }
  tasks.removals.after(ended, directory, () => removeTree(directory));
  await ended;
}

async function endAndTell(tasks: Tasks, task: Task, name: string): Promise<void> {
  await keepTrying(tasks.log, { id: task.id, pid: name }, "containerd: end exec", async () => {
    tasks.reports.tellLostExit(task, name, await endShims(task, name));
  });
  await new Promise<void>((resolve) => tasks.reports.whenStored(task, resolve));
}
