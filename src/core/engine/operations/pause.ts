import { update } from "../../tasks/operations/update.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { runningTask } from "./running.js";

/**
 * Pauses or resumes a container; one that is so already stays so.
 * @param signal ends the attempt
 * @throws Failure: failed-precondition for one that does not run
 */
export async function pause(
  engine: Engine,
  container: EngineContainer,
  kind: "pause" | "resume",
  signal: AbortSignal,
): Promise<void> {
  const { namespace, id } = container;
  const task = runningTask(engine, container);
  if (task.isPaused === (kind === "pause")) return;
  await update(engine.tasks, { namespace, id, kind }, signal);
}
