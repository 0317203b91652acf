import { logText } from "../../failure/log-text.js";
import { deleteStopped } from "../../tasks/operations/delete.js";
import type { Task } from "../../tasks/task.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { keptOf } from "../kept-container.js";
import { exitOf } from "./exit-of.js";
import { keep } from "./keeping.js";
import { removeInTurn } from "./remove.js";
import { wholeEnd } from "./running.js";

/** Has the end of a container's task written down, told, and what follows done. */
export function follow(engine: Engine, container: EngineContainer, task: Task): void {
  task.init!.whenOver(() => {
    ended(engine, container, task).catch((error) => {
      engine.log.error({ id: container.id, error: logText(error) }, "containerd: the end of a container");
    });
  });
}

async function ended(engine: Engine, container: EngineContainer, task: Task): Promise<void> {
  await engine.inTurn(container, async () => {
    // Whoever removes it, or starts it anew, has seen its end.
    if (container.isGone || engine.taskOf(container) !== task) return;
    await settleEnd(engine, container, task);
  });
}

/** In turn: what a task that has ended leaves. */
export async function settleEnd(engine: Engine, container: EngineContainer, task: Task): Promise<void> {
  const exit = exitOf(task);
  // Whoever is told of its end finds its ports free.
  const left = engine.networks.leave(container);
  if (container.autoRemove) {
    container.exit = exit;
    container.tell();
    engine.index.keepEnded(container);
    await removeInTurn(engine, container, true);
    return;
  }
  if (container.owner !== undefined) {
    // Its task keeps it until it is removed: a record of what goes with a program is not worth a wait for the disk.
    container.exit = exit;
    container.tell();
    await left;
    return;
  }
  try {
    const {
      starting: _,
      attached: __,
      ...kept
    } = keptOf(await engine.containers.getBrief(container.namespace, container.id))!;
    await keep(engine, container, { ...kept, exit });
  } finally {
    // Where it can't be written down the task stays, and the next daemon tries.
    container.exit = exit;
    container.tell();
  }
  // Not before its end is known: without a task and an end it would be one that was never started.
  await Promise.all([wholeEnd(task), left]);
  await deleteStopped(engine.tasks, container);
}
