import { bootId } from "../../../system/linux/boot-id.js";
import { now } from "../../../system/linux/clock.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { type KeptContainer, keptOf, type Starting, withKept } from "../kept-container.js";
import type { Restarts } from "../restarts.js";

/** That a start begins, for the daemon that finds only that. */
export function starting(kept: KeptContainer, by: Starting["by"]): KeptContainer {
  return { ...kept, starting: { bootId: bootId(), by } };
}

/** Changes what is kept of a container. Resolves once it is on the disk. @throws Failure */
export async function keep(engine: Engine, { namespace, id }: EngineContainer, kept: KeptContainer): Promise<void> {
  await engine.containers.updateBrief(namespace, id, (before) => ({
    ...before,
    extensions: withKept(before.extensions, kept),
  }));
}

/** A container that runs is not taken for one whose start was not answered. */
export async function keepStarted(engine: Engine, container: EngineContainer, restarts: Restarts): Promise<void> {
  container.restarts = restarts;
  if (container.owner !== undefined) return;
  const { namespace, id } = container;
  const { starting: begun, ...kept } = keptOf(await engine.containers.getBrief(namespace, id))!;
  // It may have ended by now.
  if (begun === undefined) return;
  const { exit: _, ...running } = kept;
  await keep(engine, container, { ...running, startedAt: now(), ...restartsOf(container) });
}

/** What the next daemon needs to know of a container's restarts. */
export function restartsOf({ policy, restarts }: EngineContainer): Pick<KeptContainer, "restarts"> {
  return { restarts: policy === undefined ? undefined : restarts };
}
