import { Failure } from "../../failure/failure.js";
import { thaw } from "../../tasks/freezer.js";
import { signalProcess } from "../../tasks/operations/signal.js";
import { startOver } from "../../tasks/operations/start-exec.js";
import { INIT } from "../../tasks/process.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { signalNumber } from "../signals.js";
import { killExec } from "./exec.js";
import { runningTask } from "./running.js";

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
  const task = runningTask(engine, container);
  const { execId, all } = request;
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
  if (number === KILL) await thaw(task);
}

const KILL = 9;
