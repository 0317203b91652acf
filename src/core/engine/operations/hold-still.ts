import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { bundleIn } from "../../tasks/task.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { pause } from "./pause.js";
import { statusOf } from "./running.js";

/**
 * Pauses a container that runs while its layer is read, by one or by several at once: it goes on when the last of them is done. That it is
 * not its user who has paused it is written into its task's bundle: a daemon that is killed meanwhile leaves it paused, and the next one
 * resumes it.
 * @param signal ends the attempt
 * @returns what resumes it, once
 * @throws Failure; the signal's reason
 */
export async function holdStill(
  engine: Engine,
  container: EngineContainer,
  signal: AbortSignal,
): Promise<() => Promise<void>> {
  const isHeld = await inTurn(engine, container, async () => {
    if (statusOf(engine, container) === "running") {
      writeFileSync(markOf(engine, container), "");
      try {
        await pause(engine, container, "pause", signal);
      } catch (error) {
        await letGo(engine, container);
        throw error;
      }
    } else if (container.holders === 0) return false;
    container.holders++;
    return true;
  });
  let released: Promise<void> | undefined;
  return async () => {
    if (!isHeld) return;
    released ??= inTurn(engine, container, async () => {
      container.holders--;
      if (container.holders === 0) await letGo(engine, container);
    });
    await released;
  };
}

/**
 * Pauses a container for its user: one that is held still, too, is not resumed by what holds it.
 * @param signal ends the attempt
 * @throws Failure: failed-precondition for one that does not run
 */
export async function pauseForUser(engine: Engine, container: EngineContainer, signal: AbortSignal): Promise<void> {
  await inTurn(engine, container, async () => {
    signal.throwIfAborted();
    await pause(engine, container, "pause", signal);
    rmSync(markOf(engine, container), { force: true });
  });
}

function inTurn<T>({ holds }: Engine, { namespace, id }: EngineContainer, work: () => Promise<T>): Promise<T> {
  return holds.run(`${namespace}/${id}`, work);
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
