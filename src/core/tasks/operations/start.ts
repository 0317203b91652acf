import { join } from "node:path";
import { bootTime } from "../../../system/linux/clock.js";
import { withDeadline } from "../../failure/deadline.js";
import { Failure } from "../../failure/failure.js";
import { concealEnvironment, logText } from "../../failure/log-text.js";
import type { Operation } from "../../telemetry/operations.js";
import { Container, patienceAfter } from "../container.js";
import { followExit } from "../exit/exit.js";
import { watchOom } from "../exit/oom.js";
import { release } from "../exit/release.js";
import { checkIdentifier } from "../identifier.js";
import { watchLifetime } from "../lifetime.js";
import { forgetExit, watchExit } from "../monitor.js";
import type { Owner } from "../owner.js";
import type { Stdio } from "../process.js";
import { readSpec } from "../runtime/bundle.js";
import { checkpointsDirectory, findCheckpoint } from "../runtime/checkpoint.js";
import type { OciSpec } from "../runtime/spec.js";
import type { Supervisor } from "../supervisor.js";

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
  /** The program that the container ends with. */
  owner?: Owner | undefined;
  /** In ms from now: when it is ended, if it still runs. */
  lifetime?: number | undefined;
  /** "" is the daemon's, with its arguments. */
  runtime: string;
  runtimeArgs: string[];
}

/**
 * Starts a container.
 * @param signal ends the attempt: nothing is left then
 * @throws Failure; nothing is left then
 */
export function start(supervisor: Supervisor, request: StartRequest, signal: AbortSignal): Promise<Container> {
  return supervisor.operations.run({ kind: "start", id: request.id }, (operation) =>
    runStart(supervisor, request, signal, operation),
  );
}

async function runStart(
  supervisor: Supervisor,
  request: StartRequest,
  signal: AbortSignal,
  operation: Operation,
): Promise<Container> {
  const began = performance.now();
  if (request.bundle === "") throw new Failure("invalid-argument", "missing-value", { name: "bundle path" });
  checkIdentifier("container id", request.id);
  const checkpoint =
    request.checkpoint === ""
      ? ""
      : await findCheckpoint(checkpointsDirectory(request.bundle, request.checkpointDir), request.checkpoint, signal);
  await supervisor.removals.settled(join(supervisor.stateDir, request.id), signal);
  const container = Container.create(supervisor.removals, supervisor.stateDir, {
    id: request.id,
    bundle: request.bundle,
    labels: request.labels,
    stdio: request.stdio,
    runtime: request.runtime || supervisor.runtime,
    runtimeArgs: request.runtime === "" ? supervisor.runtimeArgs : request.runtimeArgs,
    shim: supervisor.shimProgram(),
    noPivotRoot: request.noPivotRoot,
    owner: request.owner,
    endsAt: request.lifetime === undefined ? undefined : bootTime() + request.lifetime,
  });
  supervisor.metrics.containerCreate.since(began);
  try {
    // Before it takes a worker: the bundle may lie where nobody answers.
    operation.doing = "reading config.json";
    const spec = await readSpec(container.bundle, signal);
    operation.doing = "waiting for a start worker";
    await supervisor.startWorkers.run(signal, () =>
      withDeadline(
        [signal],
        supervisor.startTimeout,
        () => new Failure("deadline-exceeded", "start-timeout", { timeout: supervisor.startTimeout }),
        (limited) => startContainer(supervisor, container, spec, checkpoint, limited, operation),
      ),
    );
  } catch (error) {
    supervisor.log.error({ id: container.id, error: logText(error) }, "containerd: start container");
    release(supervisor, container);
    throw error;
  }
  return container;
}

/** A start worker's part. */
async function startContainer(
  supervisor: Supervisor,
  container: Container,
  spec: OciSpec,
  checkpoint: string,
  signal: AbortSignal,
  operation: Operation,
): Promise<void> {
  const began = performance.now();
  operation.doing = checkpoint === "" ? "runtime create" : "runtime restore";
  const process = await container.start(spec, checkpoint, signal);
  const exited = watchExit(process.exitFd);
  // Before the process runs: an OOM kill right at its start counts too.
  const oom = watchOom(supervisor, container);
  operation.doing = "runtime start";
  try {
    if (checkpoint === "") await process.shim!.start(signal);
  } catch (error) {
    concealEnvironment(error, process.state.env);
    oom.end();
    forgetExit(process.exitFd);
    await container.abandonInit(process, patienceAfter(error));
    throw error;
  }
  process.shim!.release();
  supervisor.containers.set(container.id, container);
  // Before all else: whatever fails from here on, the exit is told.
  process.done = followExit(
    supervisor,
    container,
    process,
    exited.then(() => oom.flush(process)),
  ).finally(oom.end);
  supervisor.metrics.containerStart.since(began);
  supervisor.log.info(
    {
      id: container.id,
      pid: process.id,
      systemPid: process.systemPid,
      duration: Math.round(performance.now() - began),
    },
    "containerd: container started",
  );
  supervisor.emit({ type: "start-container", id: container.id, run: process.run });
  supervisor.events.whenStored(() => process.markAnnounced());
  oom.announce();
  watchLifetime(supervisor.log, container);
}
