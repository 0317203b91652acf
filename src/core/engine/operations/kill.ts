import { Failure } from "../../failure/failure.js";
import { thaw } from "../../tasks/freezer.js";
import { signalProcess } from "../../tasks/operations/signal.js";
import { startOver } from "../../tasks/operations/start-exec.js";
import { INIT } from "../../tasks/process.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { type KeptContainer, keptOf } from "../kept-container.js";
import { signalNumber } from "../signals.js";
import { killExec } from "./exec.js";
import { endPolicy } from "./restart-policy.js";
import { runningTask, statusOf } from "./running.js";
import { stopSignalOf } from "./stop.js";
import { tell } from "./tell-tasks.js";

export interface KillRequest {
  /** "" is the container's own process. */
  execId: string;
  /** Name or number; "" is SIGKILL. */
  signal: string;
  /** Every process in the container; of an exec that gets SIGKILL: what it has started, too. */
  all: boolean;
}

/** @throws Failure: not-found, invalid-argument for a signal that there is not, failed-precondition for what does not run */
export async function kill(engine: Engine, container: EngineContainer, request: KillRequest): Promise<void> {
  const number = signalNumber(request.signal || "SIGKILL");
  const { execId, all } = request;
  if (execId === "" && container.policy !== undefined) {
    const isWaiting = statusOf(engine, container) === "restarting";
    if (isWaiting || number === KILL || number === stopSignalOf(await keptNow(engine, container))) {
      await endPolicy(engine, container);
      if (isWaiting && statusOf(engine, container) === "stopped") return;
    } else container.lastSignal = number;
  }
  const task = runningTask(engine, container);
  if (execId !== "") {
    const exec = task.process(execId);
    await startOver(exec);
    if (exec.status === "stopped")
      throw new Failure("failed-precondition", "refused", { why: `process ${JSON.stringify(execId)} has ended` });
    if (all && number === KILL && exec.systemPid !== 0) {
      await killExec(task, exec);
      await thaw(task);
      return;
    }
  }
  try {
    signalProcess(engine.tasks, container, execId || INIT, number, all);
  } catch (error) {
    if (!(error instanceof Failure && error.kind === "not-found")) throw error;
    // It is just ending.
    const what = execId === "" ? `container ${JSON.stringify(container.id)}` : `process ${JSON.stringify(execId)}`;
    throw new Failure("failed-precondition", "refused", { why: `${what} does not run: it has just ended` });
  }
  if (execId === "") tell(engine, container, "kill", { signal: String(number) });
  if (number === KILL) await thaw(task);
}

const KILL = 9;

async function keptNow(engine: Engine, { namespace, id }: EngineContainer): Promise<KeptContainer> {
  return keptOf(await engine.containers.getBrief(namespace, id))!;
}
