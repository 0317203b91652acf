import { abortable } from "../../failure/abortable.js";
import { Failure } from "../../failure/failure.js";
import { thaw } from "../../tasks/freezer.js";
import { signalProcess } from "../../tasks/operations/signal.js";
import { INIT } from "../../tasks/process.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { type ContainerExit, type KeptContainer, keptOf } from "../kept-container.js";
import { signalNumber } from "../signals.js";
import { exitOf } from "./exit-of.js";
import { endPolicy } from "./restart-policy.js";
import { wholeEnd } from "./running.js";
import { tell } from "./tell-tasks.js";

/** In ms: the grace period of a container that has none of its own. */
const GRACE = 10_000;
/** The longest time, in ms, that a timer can have. */
const LONGEST = 2 ** 31 - 1;

export interface StopRequest {
  /** In ms; undefined: the container's own. −1: without end. */
  grace?: number | undefined;
  /** Name or number; "" is the container's own. */
  signal: string;
}

/**
 * Asks a container to end, and kills it after its grace period. What has begun goes on when the caller leaves.
 * @returns how it has ended, at once when it had before
 * @throws Failure: failed-precondition when it was never started; the signal's reason
 */
export async function stop(
  engine: Engine,
  container: EngineContainer,
  { grace, signal: wanted }: StopRequest,
  signal: AbortSignal,
): Promise<ContainerExit> {
  await container.made;
  const { namespace, id } = container;
  if (wanted !== "") signalNumber(wanted);
  await endPolicy(engine, container);
  const task = engine.taskOf(container);
  if (task === undefined || task.status === "stopped") {
    if (container.exit !== undefined) return container.exit;
    if (task === undefined)
      throw new Failure("failed-precondition", "refused", { why: `container ${JSON.stringify(id)} was never started` });
    await abortable(wholeEnd(task), signal);
    return await engine.inTurn(container, async () => container.exit ?? exitOf(task));
  }
  const kept = keptOf(await engine.containers.getBrief(namespace, id))!;
  const number = wanted === "" ? stopSignalOf(kept) : signalNumber(wanted);
  const limit = grace ?? kept.config.stopTimeout ?? GRACE;
  const init = task.init!;
  const over = new Promise<void>((resolve) => init.whenOver(resolve));
  try {
    signalProcess(engine.tasks, container, INIT, number);
  } catch (error) {
    // It is just ending.
    if (!(error instanceof Failure && error.kind === "not-found")) throw error;
  }
  tell(engine, container, "kill", { signal: String(number) });
  // A frozen one gets it when it goes on.
  await thaw(task);
  const timer =
    limit < 0
      ? undefined
      : setTimeout(
          () => {
            void thaw(task).then(() => init.kill());
          },
          Math.min(limit, LONGEST),
        );
  void over.then(() => clearTimeout(timer));
  await abortable(over, signal);
  // What else its end brings about is done, too.
  const exit = await engine.inTurn(container, async () => container.exit ?? exitOf(task));
  tell(engine, container, "stop");
  return exit;
}

/** By which a container is asked to end. */
export function stopSignalOf({ config, imageStopSignal }: KeptContainer): number {
  return signalNumber(config.stopSignal || imageStopSignal || "SIGTERM");
}
