import type { Process, Stdio } from "../../tasks/process.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { statusOf } from "./running.js";
import { start } from "./start.js";
import { type StopRequest, stop } from "./stop.js";

/** Stops a container, if it runs, and starts it. @throws what {@link stop} and {@link start} do */
export async function restart(
  engine: Engine,
  container: EngineContainer,
  request: StopRequest & { stdio: Stdio },
  signal: AbortSignal,
): Promise<Process> {
  const status = statusOf(engine, container);
  if (status === "running" || status === "paused") await stop(engine, container, request, signal);
  return await start(engine, container, request.stdio, signal);
}
