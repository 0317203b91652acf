import { errorText } from "../linux/libc.js";
import { checkpointsDirectory, findCheckpoint } from "../runtime/checkpoint.js";
import { Container, patienceAfter } from "../runtime/container.js";
import { checkIdentifier } from "../runtime/identifier.js";
import { OperationError } from "../runtime/operation-error.js";
import type { Stdio } from "../runtime/process.js";
import { withDeadline } from "./deadline.js";
import { followExit } from "./exit.js";
import { watchOom } from "./oom.js";
import type { Supervisor } from "./supervisor.js";

export interface StartRequest {
  id: string;
  bundle: string;
  /** Name of a checkpoint to restore; "" for a fresh start. */
  checkpoint: string;
  /** "" is the bundle's own. */
  checkpointDir: string;
  stdio: Stdio;
  labels: string[];
  noPivotRoot: boolean;
  /** "" is the daemon's, with its arguments. */
  runtime: string;
  runtimeArgs: string[];
}

/**
 * Starts a container.
 * @param signal ends the attempt: nothing is left then
 * @throws OperationError; nothing is left then
 */
export async function start(supervisor: Supervisor, request: StartRequest, signal: AbortSignal): Promise<Container> {
  if (request.bundle === "") throw new OperationError("invalid-argument", "empty bundle path");
  checkIdentifier("container id", request.id);
  const checkpoint =
    request.checkpoint === ""
      ? ""
      : findCheckpoint(checkpointsDirectory(request.bundle, request.checkpointDir), request.checkpoint);
  const container = Container.create(supervisor.epoll, supervisor.stateDir, {
    id: request.id,
    bundle: request.bundle,
    labels: request.labels,
    stdio: request.stdio,
    runtime: request.runtime || supervisor.runtime,
    runtimeArgs: request.runtime === "" ? supervisor.runtimeArgs : request.runtimeArgs,
    shim: supervisor.shimProgram(),
    noPivotRoot: request.noPivotRoot,
  });
  try {
    await supervisor.startWorkers.run(signal, () =>
      withDeadline(
        [signal],
        supervisor.startTimeout,
        "containerd: container did not start before the specified timeout",
        (limited) => startContainer(supervisor, container, checkpoint, limited),
      ),
    );
  } catch (error) {
    supervisor.log.error({ id: container.id, error: errorText(error) }, "containerd: start container");
    container.removeDirectory();
    throw error;
  }
  return container;
}

/** A start worker's part. */
async function startContainer(
  supervisor: Supervisor,
  container: Container,
  checkpoint: string,
  signal: AbortSignal,
): Promise<void> {
  const began = performance.now();
  const process = await container.start(checkpoint, signal);
  const exited = supervisor.monitor.exit(process.exitFd);
  // Before the process runs: an OOM kill right at its start counts too.
  const oom = watchOom(supervisor, container);
  try {
    if (checkpoint === "") await process.shim!.start(signal);
  } catch (error) {
    oom.end();
    supervisor.monitor.forgetExit(process.exitFd);
    await container.abandonInit(process, patienceAfter(error));
    throw error;
  }
  process.shim!.release();
  supervisor.containers.set(container.id, container);
  supervisor.log.info(
    { id: container.id, pid: process.systemPid, duration: Math.round(performance.now() - began) },
    "containerd: container started",
  );
  supervisor.emit({ type: "start-container", id: container.id });
  process.markAnnounced();
  oom.announce();
  process.done = followExit(supervisor, container, process, exited).finally(oom.end);
}
