import { Failure } from "../../failure/failure.js";
import { logText } from "../../failure/log-text.js";
import { atBootTime } from "../../tasks/lifetime.js";
import type { RestartPolicy } from "../container-config.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { keptOf } from "../kept-container.js";
import { policyOf, type Restarts, stopped } from "../restarts.js";
import { keep } from "./keeping.js";

/** Has a container's policy start it when it is time, if it is to. */
export function watchRestart(engine: Engine, container: EngineContainer): void {
  container.stopRestart();
  const { at } = container.restarts;
  if (at === undefined || container.isGone) return;
  const attempt = new AbortController();
  const stopClock = atBootTime(at, () => {
    engine.startAgain(container, attempt.signal).catch((error) => {
      if (attempt.signal.aborted) return;
      engine.log.error({ id: container.id, error: logText(error) }, "containerd: restart a container");
    });
  });
  container.stopRestart = () => {
    stopClock();
    attempt.abort(new Failure("cancelled", "refused", { why: "the container is not to be started again" }));
  };
}

/**
 * Somebody stops a container: its policy does not start it again, until somebody has.
 * @throws Failure when that can't be written down; it is as it was then
 */
export async function endPolicy(engine: Engine, container: EngineContainer): Promise<void> {
  const isOver = engine.taskOf(container) === undefined && container.restarts.at === undefined;
  if (container.policy === undefined || isOver) return;
  // An attempt that is under way has the turn.
  container.stopRestart();
  await engine.inTurn(container, async () => {
    if (container.isGone || container.restarts.isStopped) return;
    await change(engine, container, container.policy, stopped(container.restarts));
  });
}

/** What was to end it, and has not, is taken back. @throws as {@link endPolicy} does */
export async function resumePolicy(engine: Engine, container: EngineContainer): Promise<void> {
  await engine.inTurn(container, async () => {
    const { isStopped, ...restarts } = container.restarts;
    if (container.isGone || !isStopped) return;
    await change(engine, container, container.policy, restarts);
  });
}

/** Changes what becomes of a container when it ends; for who has the turn. */
export async function changePolicy(
  engine: Engine,
  container: EngineContainer,
  restart: RestartPolicy | undefined,
): Promise<void> {
  const policy = restart && policyOf({ restart });
  const { at: _, ...rest } = container.restarts;
  const { at } = container.restarts;
  const restarts = policy !== undefined && at !== undefined ? { ...rest, at } : rest;
  await change(engine, container, policy, restarts, restart);
}

async function change(
  engine: Engine,
  container: EngineContainer,
  policy: RestartPolicy | undefined,
  restarts: Restarts,
  restart: RestartPolicy | undefined = policy,
): Promise<void> {
  const { namespace, id } = container;
  try {
    const kept = keptOf(await engine.containers.getBrief(namespace, id))!;
    await keep(engine, container, { ...kept, config: { ...kept.config, restart }, restarts });
    container.policy = policy;
    container.restarts = restarts;
  } finally {
    watchRestart(engine, container);
    container.tell();
  }
}
