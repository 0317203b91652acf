import { Slices } from "../../scheduling/slices.js";
import type { TaskName } from "../history.js";
import type { Process } from "../process.js";
import type { Task } from "../task.js";
import type { Tasks } from "../tasks.js";

/** One container at one moment: it may exit while the snapshots of others are taken. */
export interface TaskSnapshot {
  task: Task;
  status: Task["status"];
  processes: readonly Process[];
  /** Host pids of every process in it. */
  pids: number[];
}

/**
 * The container with this id, or all. Reading the pids of hundreds of containers takes a while, so others get their turn in between.
 * @throws Failure (not-found)
 */
export function state(tasks: Tasks, name: TaskName): Promise<TaskSnapshot[]> {
  return tasks.operations.run({ kind: "state", id: name.id }, () => readState(tasks, name));
}

async function readState(tasks: Tasks, name: TaskName): Promise<TaskSnapshot[]> {
  const wanted = name.id === "" ? tasks.list(name.namespace) : [tasks.get(name)];
  const snapshots: TaskSnapshot[] = [];
  const slices = new Slices();
  for (const task of wanted) {
    await slices.next();
    // It may go at each wait.
    if (!tasks.has(task)) continue;
    const pids = await pidsOf(task);
    if (tasks.has(task)) snapshots.push(snapshot(task, pids));
  }
  return snapshots;
}

/** The container as it is now. */
export function snapshot(task: Task, pids: number[]): TaskSnapshot {
  return { task, status: task.status, processes: task.running, pids };
}

/** Host pids of every process in a task. */
export async function pidsOf(task: Task): Promise<number[]> {
  const { cgroup } = task;
  if (cgroup !== undefined) return cgroup.pids();
  // No cgroup on this host: only the runtime knows. One that is ending must not fail the whole answer.
  try {
    return await task.runtime.ps(task.id, { signal: AbortSignal.timeout(PS_TIMEOUT) });
  } catch {
    return [];
  }
}

/** In ms. */
const PS_TIMEOUT = 5_000;
