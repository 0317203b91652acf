import { bootTime } from "../../../system/linux/clock.js";
import { changeLifetime } from "../../tasks/lifetime.js";
import { update as updateTask } from "../../tasks/operations/update.js";
import { changedResources, withRelated } from "../changed-resources.js";
import { checkTime } from "../check-time.js";
import type { Resources, RestartPolicy } from "../container-config.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { keptOf } from "../kept-container.js";
import { NO_WISHES, prepareHost } from "../spec/host-facts.js";
import { resourcesOf } from "../spec/resources.js";
import { changeTimeToLive } from "./expire.js";
import { keep } from "./keeping.js";
import { requireThere } from "./remove.js";
import { checkName, checkPolicy } from "./requests.js";
import { changePolicy } from "./restart-policy.js";
import { tell } from "./tell-tasks.js";

export interface UpdateRequest {
  /** Of what is not given nothing changes. */
  resources: Resources;
  /** In ms from now; 0 is none any more. */
  lifetime?: number | undefined;
  /** In ms from now, until it is removed; 0 is never. */
  ttl?: number | undefined;
  /** What becomes of it when it ends from now on. */
  restart?: RestartPolicy | undefined;
}

/**
 * Changes limits, of what runs at once, of what does not from its next start; and when it is killed.
 * @param signal ends the attempt
 * @throws Failure: invalid-argument; what the runtime says
 */
export async function update(
  engine: Engine,
  container: EngineContainer,
  { resources, lifetime, ttl, restart }: UpdateRequest,
  signal: AbortSignal,
): Promise<void> {
  const { namespace, id } = container;
  if (lifetime !== undefined) checkTime("lifetime", lifetime);
  if (ttl !== undefined) checkTime("ttl", ttl);
  await engine.inTurn(container, async () => {
    requireThere(container);
    const kept = keptOf(await engine.containers.getBrief(namespace, id))!;
    if (restart !== undefined) checkPolicy(restart, kept);
    const all = changedResources(kept.config.resources, resources);
    const changed = withRelated(all, resources);
    const host = await prepareHost({ ...NO_WISHES, resources: changed }, { systemdCgroup: false, signal });
    const limits = resourcesOf(changed, host);
    const task = engine.taskOf(container);
    const isRunning = task?.status === "running" || task?.status === "paused";
    if (isRunning && Object.keys(limits).length > 0)
      await updateTask(engine.tasks, { namespace, id, kind: "update", resources: limits }, signal);
    const config = { ...kept.config, resources: all };
    await keep(engine, container, { ...kept, config, ...(lifetime !== undefined && { lifetime }) });
    if (restart !== undefined) await changePolicy(engine, container, restart);
    tell(engine, container, "update");
    if (lifetime === undefined || task === undefined || !isRunning) return;
    changeLifetime(engine.log, task, lifetime === 0 ? undefined : bootTime() + lifetime);
  });
  if (ttl !== undefined) await changeTimeToLive(engine, container, ttl);
}

/** @param name "" is none any more. @throws Failure: invalid-argument, already-exists; the name is as it was then */
export async function rename(engine: Engine, container: EngineContainer, name: string): Promise<void> {
  checkName(name);
  await engine.inTurn(container, async () => {
    requireThere(container);
    const { namespace, id, name: before } = container;
    engine.index.rename(container, name);
    try {
      const kept = keptOf(await engine.containers.getBrief(namespace, id))!;
      await keep(engine, container, { ...kept, name });
      tell(engine, container, "rename", { "old-name": before });
      await engine.networks.rename(container);
    } catch (error) {
      engine.index.rename(container, before);
      throw error;
    }
  });
}
