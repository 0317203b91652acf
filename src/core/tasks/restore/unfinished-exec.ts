import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { errorText } from "../../../system/linux/libc.js";
import { requireDescriptors } from "../../../system/linux/reserved-descriptors.js";
import { withTimeout } from "../../failure/timeout.js";
import type { Operation } from "../../telemetry/operations.js";
import { closeProcess } from "../exit/stopped.js";
import { hasMark, type Process } from "../process.js";
import { endShims, shimsOf, WATCH_INTERVAL } from "../shims/left-shims.js";
import { removeTree } from "../state-directory/partial-directory.js";
import type { Task } from "../task.js";
import type { Tasks } from "../tasks.js";
import { keepTrying } from "./keep-trying.js";
import { type FoundIdentity, findIdentity, follow, loadProcess } from "./restore-process.js";

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
        const exec = adopt(task, name, identity);
        tasks.reports.tellStartOnce(task, exec);
        follow(tasks, task, exec);
      }),
    );
  } catch (error) {
    tasks.log.warn({ id: task.id, pid: name, error: errorText(error) }, "containerd: exec was not started");
    await endLostExec(tasks, task, name);
  }
}

/** One that is kept until it is deleted is there already: somebody may wait for it. */
function adopt(task: Task, name: string, identity: FoundIdentity): Process {
  const added = task.processes.get(name);
  if (added === undefined) {
    const exec = loadProcess(task, name, identity);
    task.processes.set(name, exec);
    return exec;
  }
  added.takeOver(identity, identity.isWritten);
  added.announced = hasMark(added.directory, "started");
  added.isStarting = false;
  return added;
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
 * its name is free; one that is kept until it is deleted has stopped. Never rejects.
 */
export async function endLostExec(tasks: Tasks, task: Task, name: string): Promise<void> {
  const directory = join(task.directory, name);
  const ended = endAndTell(tasks, task, name);
  const kept = task.processes.get(name);
  if (kept === undefined) tasks.removals.after(ended, directory, () => removeTree(directory));
  await ended;
  if (kept === undefined) return;
  kept.isStarting = false;
  kept.fail();
  closeProcess(kept);
}

async function endAndTell(tasks: Tasks, task: Task, name: string): Promise<void> {
  await keepTrying(tasks.log, { id: task.id, pid: name }, "containerd: end exec", async () => {
    tasks.reports.tellLostExit(task, name, await endShims(task, name));
  });
  await new Promise<void>((resolve) => tasks.reports.whenStored(task, resolve));
}
