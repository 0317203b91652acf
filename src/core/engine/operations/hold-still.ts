import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bundleIn } from "../../tasks/task.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { pause } from "./pause.js";
import { statusOf } from "./running.js";

/**
 * Pauses a container that runs while its layer is read. That it is not its user who has paused it is written into its task's bundle: a
 * daemon that is killed meanwhile leaves it paused, and the next one resumes it.
 * @param signal ends the attempt
 * @returns what resumes it, once
 * @throws Failure; the signal's reason
 */
export async function holdStill(
  engine: Engine,
  container: EngineContainer,
  signal: AbortSignal,
): Promise<() => Promise<void>> {
  if (statusOf(engine, container) !== "running") return async () => {};
  writeFileSync(markOf(engine, container), "");
  let released: Promise<void> | undefined;
  const release = () => {
    released ??= letGo(engine, container);
    return released;
  };
  try {
    await pause(engine, container, "pause", signal);
  } catch (error) {
    await release();
    throw error;
  }
  return release;
}

/** Resumes a container that is held still. @throws Failure */
export async function letGo(engine: Engine, container: EngineContainer): Promise<void> {
  const mark = markOf(engine, container);
  if (!existsSync(mark)) return;
  // It may have been killed meanwhile.
  if (statusOf(engine, container) === "paused") await pause(engine, container, "resume", new AbortController().signal);
  rmSync(mark, { force: true });
}

function markOf(engine: Engine, container: EngineContainer): string {
  return join(bundleIn(engine.tasks.directoryOf(container)), "held-still");
}
