import type { Process } from "../../tasks/process.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { keptOf } from "../kept-container.js";
import { statusOf } from "./running.js";
import { type StartRequest, start } from "./start.js";
import { type StopRequest, stop } from "./stop.js";
import { tell } from "./tell-tasks.js";

/**
 * Stops a container, if it runs, and starts it; the very same restart once more answers as {@link start} does.
 * @throws what {@link stop} and {@link start} do
 */
export async function restart(
  engine: Engine,
  container: EngineContainer,
  request: StopRequest & StartRequest,
  signal: AbortSignal,
): Promise<Process | undefined> {
  const status = statusOf(engine, container);
  if ((status === "running" || status === "paused") && !(await isDone(engine, container, request)))
    await stop(engine, container, request, signal);
  const init = await start(engine, container, request, signal);
  tell(engine, container, "restart");
  return init;
}

/** Whether what runs was started by this very request. */
async function isDone(engine: Engine, { namespace, id }: EngineContainer, { startId }: StartRequest): Promise<boolean> {
  return startId !== "" && keptOf(await engine.containers.getBrief(namespace, id))?.startId === startId;
}
