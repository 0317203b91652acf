import { Failure } from "../../failure/failure.js";
import { logText } from "../../failure/log-text.js";
import { unlessMissing } from "../../failure/unless-missing.js";
import { thaw } from "../../tasks/freezer.js";
import { deleteStopped } from "../../tasks/operations/delete.js";
import type { Task } from "../../tasks/task.js";
import { removeCheckpoints } from "../checkpoints.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { expired, killedByExpiry } from "../time-to-live.js";
import { exitOf } from "./exit-of.js";
import { wholeEnd } from "./running.js";
import { tell } from "./tell-tasks.js";

/**
 * Removes a container with all that is its own. Nobody calls it off.
 * @param force kills it first, if it runs
 * @throws Failure: not-found when it is gone, failed-precondition while it runs
 */
export async function removeNow(engine: Engine, container: EngineContainer, force: boolean): Promise<void> {
  await container.made.catch(() => {});
  // An attempt that is under way has the turn.
  if (force) container.stopRestart();
  else if (container.policy !== undefined) {
    // Whether its policy starts it again is known after its end.
    const task = engine.taskOf(container);
    if (task?.status === "stopped") await wholeEnd(task);
  }
  await engine.inTurn(container, () => removeInTurn(engine, container, force));
}

/** As {@link removeNow}, for who has the turn. */
export async function removeInTurn(engine: Engine, container: EngineContainer, force: boolean): Promise<void> {
  const { id } = container;
  requireThere(container);
  const task = engine.taskOf(container);
  if (task !== undefined && task.status !== "stopped") {
    if (!force) {
      const why = `container ${JSON.stringify(id)} is ${task.status}: stop it first, or remove it with force`;
      throw new Failure("failed-precondition", "refused", { why });
    }
    container.stopRestart();
    await killTask(task);
    container.exit = { ...exitOf(task), ...(container.isExpired && { expired: true }) };
  }
  if (!force && container.restarts.at !== undefined) {
    const why = `container ${JSON.stringify(id)} is restarting: stop it first, or remove it with force`;
    throw new Failure("failed-precondition", "refused", { why });
  }
  container.stopRestart();
  await removeRest(engine, container);
}

/** @throws Failure (not-found) */
export function requireThere({ id, isGone, isExpired }: EngineContainer): void {
  if (isGone && isExpired) throw expired(id);
  if (isGone) throw new Failure("not-found", "container-not-found", { id });
}

/** What is left of a container that does not run. The record goes last: who finds it finds what else there may be. */
export async function removeRest(engine: Engine, container: EngineContainer): Promise<void> {
  const { namespace, id, hasLayer } = container;
  container.isRemoving = true;
  // Of such a one the next daemon removes whatever it finds without a task: nobody waits for the disk, or for the kernel.
  const isPassing = container.owner !== undefined && container.isOfRun;
  const task = engine.taskOf(container);
  if (task?.status === "stopped") await wholeEnd(task);
  if (task !== undefined) await unlessMissing(deleteStopped(engine.tasks, container, !isPassing));
  const left = engine.networks.forget(container);
  await removeCheckpoints(engine, container);
  if (hasLayer) {
    const removeFiles = await unlessMissing(engine.snapshots.forget(namespace, id));
    const removed = removeFiles?.();
    if (!isPassing) await removed;
  }
  if (container.hasLog) await engine.logs.remove(container);
  const volumes = engine.volumes.letGo(container, !container.isMade);
  if (!isPassing) await volumes;
  else
    volumes.catch((error) =>
      engine.log.error({ id, error: logText(error) }, "containerd: remove volumes of a container"),
    );
  if (!isPassing) await left;
  const record = unlessMissing(engine.containers.delete(namespace, id));
  if (!isPassing) await record;
  else
    record.catch((error) => engine.log.error({ id, error: String(error) }, "containerd: remove a container's record"));
  if (container.idMaps !== undefined) engine.idRanges.release(container.idMaps);
  container.idMaps = undefined;
  container.isGone = true;
  if (container.isTold) tell(engine, container, "remove");
  container.stopClock();
  container.stopRestart();
  if (container.isExpired) engine.expired.set(container, container.exit ?? killedByExpiry());
  engine.owners.remove(container);
  engine.index.remove(container);
  container.tell();
}

/** Kills all of a task; resolves when its end was told. */
export async function killTask(task: Task): Promise<void> {
  const init = task.init!;
  await thaw(task);
  init.kill();
  await new Promise<void>((resolve) => init.whenOver(resolve));
}
