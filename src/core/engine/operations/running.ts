import { Failure } from "../../failure/failure.js";
import { startOver } from "../../tasks/operations/start-exec.js";
import type { Task } from "../../tasks/task.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";

/** A container's task, which runs or is paused. @throws Failure (failed-precondition) */
export function runningTask(engine: Engine, container: EngineContainer): Task {
  const task = engine.taskOf(container);
  const status = statusOf(engine, container);
  if (task === undefined || task.status === "created" || task.status === "stopped")
    throw new Failure("failed-precondition", "refused", {
      why: `container ${JSON.stringify(container.id)} does not run: it is ${status}`,
    });
  return task;
}

/** Resolves once how a task has ended is told, and nobody is starting it: a task has stopped a while before that. */
export async function wholeEnd({ init }: Task): Promise<void> {
  await new Promise<void>((resolve) => init!.whenOver(resolve));
  await startOver(init!);
}

/** `restarting`: it has stopped, and its policy starts it again. */
export type Status = "created" | "running" | "paused" | "restarting" | "stopped";

export function statusOf(engine: Engine, container: EngineContainer): Status {
  const task = engine.taskOf(container);
  if (task?.status === "running" || task?.status === "paused") return task.status;
  if (container.restarts.at !== undefined) return "restarting";
  if (task !== undefined) return task.status;
  return container.exit === undefined ? "created" : "stopped";
}
