import { bootTime, now } from "../../../system/linux/clock.js";
import { logText } from "../../failure/log-text.js";
import { deleteStopped } from "../../tasks/operations/delete.js";
import type { Task } from "../../tasks/task.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { type ContainerExit, keptOf } from "../kept-container.js";
import { type Restarts, ended as restartsAfter, stopped } from "../restarts.js";
import { exitOf } from "./exit-of.js";
import { keep, restartsOf } from "./keeping.js";
import { removeInTurn } from "./remove.js";
import { watchRestart } from "./restart-policy.js";
import { wholeEnd } from "./running.js";
import { watchHealth } from "./watch-health.js";

/** Has the end of a container's task written down, told, and what follows done. */
export function follow(engine: Engine, container: EngineContainer, task: Task, isTakenOver = false): void {
  watchHealth(engine, container, task, isTakenOver);
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
    // Its task keeps it until it is removed: a record of what goes with a program is not worth a wait for the disk. Nor does its removal
    // wait for the host: the devices and rules of the last one on a network take the kernel as long as all the rest.
    container.exit = exit;
    container.tell();
    return;
  }
  container.restarts = nextRestarts(container, exit);
  try {
    const {
      starting: _,
      attached: __,
      ...kept
    } = keptOf(await engine.containers.getBrief(container.namespace, container.id))!;
    await keep(engine, container, { ...kept, exit, ...restartsOf(container) });
  } finally {
    // Where it can't be written down the task stays, and the next daemon tries.
    container.exit = exit;
    container.tell();
    watchRestart(engine, container);
  }
  // Not before its end is known: without a task and an end it would be one that was never started.
  await Promise.all([wholeEnd(task), left]);
  await deleteStopped(engine.tasks, container);
}

/** In ms, of a process that has ended, since the machine has booted: not later than now, however its clock was set. */
function endedAt({ at }: ContainerExit): number {
  return bootTime() - Math.max(0, Number(now() - at) / 1e6);
}

function nextRestarts(container: EngineContainer, exit: ContainerExit): Restarts {
  const { policy, restarts, lastSignal } = container;
  container.lastSignal = 0;
  // What could not be written down is settled once more.
  if (restarts.at !== undefined) return restarts;
  // Whatever signal it has ended of, it was sent by somebody.
  const isKilled = policy !== undefined && lastSignal > 0 && exit.status === 128 + lastSignal;
  return restartsAfter(policy, isKilled ? stopped(restarts) : restarts, exit, endedAt(exit));
}
