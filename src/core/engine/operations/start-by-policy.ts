import { bootTime, now } from "../../../system/linux/clock.js";
import { logText } from "../../failure/log-text.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { type ContainerExit, keptOf } from "../kept-container.js";
import { failedToStart } from "../restarts.js";
import { keep } from "./keeping.js";
import { watchRestart } from "./restart-policy.js";
import { startInTurn } from "./start.js";

/** As Docker has it of what could not be started. */
const NOT_STARTED = 128;

const NO_STDIO = { stdin: "", stdout: "", stderr: "" };

/**
 * Starts a container as its policy has it, with the turn; what could not be started is tried again after a while.
 * @param signal calls it off
 * @throws Failure when it can't be written down that it could not be started
 */
export async function startByPolicy(engine: Engine, container: EngineContainer, signal: AbortSignal): Promise<void> {
  const { stopping } = engine.tasks;
  const isWanted = container.restarts.at !== undefined && !container.isGone && !container.isRemoving;
  if (signal.aborted || stopping.aborted || !isWanted) return;
  const request = { stdio: NO_STDIO, startId: "", checkpoint: "" };
  try {
    await startInTurn(engine, container, request, AbortSignal.any([signal, stopping]), "policy");
  } catch (error) {
    // The next daemon goes on, or somebody has called it off.
    if (signal.aborted || stopping.aborted || container.isGone) return;
    await noteFailure(engine, container, error);
  }
}

async function noteFailure(engine: Engine, container: EngineContainer, error: unknown): Promise<void> {
  const { namespace, id } = container;
  engine.log.warn({ id, error: logText(error) }, "containerd: a container could not be started again");
  const why = `it could not be started again: ${(error as Error).message}`;
  const exit: ContainerExit = { status: NOT_STARTED, at: now(), oomKilled: false, timedOut: false, error: why };
  const restarts = failedToStart(container.policy, container.restarts, exit, bootTime());
  container.exit = exit;
  container.restarts = restarts;
  container.tell();
  try {
    const kept = keptOf(await engine.containers.getBrief(namespace, id))!;
    await keep(engine, container, { ...kept, exit, restarts });
  } finally {
    watchRestart(engine, container);
  }
}
