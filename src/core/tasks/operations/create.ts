import { join } from "node:path";
import { bootTime } from "../../../system/linux/clock.js";
import { Failure } from "../../failure/failure.js";
import { logText } from "../../failure/log-text.js";
import { withTimeout } from "../../failure/timeout.js";
import type { Operation } from "../../telemetry/operations.js";
import type { TaskName } from "../history.js";
import { checkIdentifier } from "../identifier.js";
import type { Owner } from "../owner.js";
import type { Stdio } from "../process.js";
import { readSpec } from "../runtime/bundle.js";
import { checkpointsDirectory, findCheckpoint } from "../runtime/checkpoint.js";
import { Task } from "../task.js";
import type { Tasks } from "../tasks.js";
import { deleteTask } from "./delete.js";

export interface CreateRequest extends TaskName {
  bundle: string;
  /** Name of a checkpoint to restore, which also starts the task; "" for a fresh one. */
  checkpoint: string;
  /** "" is the bundle's own. */
  checkpointDir: string;
  stdio: Stdio;
  labels: string[];
  noPivotRoot: boolean;
  /** The program that the task ends with. */
  owner?: Owner | undefined;
  /** In ms from now: when it is ended, if it still runs. */
  lifetime?: number | undefined;
  /** "" is the daemon's, with its arguments. */
  runtime: string;
  runtimeArgs: string[];
  /** Whether it, and each of its execs, is forgotten as soon as the exit is told. */
  deleteOnExit: boolean;
}

/**
 * Makes a task: its directory, then, when a start worker is free, the container in the runtime, with everything but its process running.
 * @param signal ends the attempt
 * @param andThen what belongs to it (a start), done by the same worker and within the same time
 * @throws Failure; nothing is left of the task then, also when `andThen` has failed
 */
export async function create(
  tasks: Tasks,
  request: CreateRequest,
  signal: AbortSignal,
  operation: Operation,
  andThen: (task: Task, signal: AbortSignal) => Promise<void> = async () => {},
): Promise<Task> {
  const began = performance.now();
  const { namespace, id, bundle, lifetime } = request;
  if (bundle === "") throw new Failure("invalid-argument", "missing-value", { name: "bundle path" });
  checkIdentifier("container id", id);
  const checkpoint =
    request.checkpoint === ""
      ? ""
      : await findCheckpoint(checkpointsDirectory(bundle, request.checkpointDir), request.checkpoint, signal);
  await tasks.removals.settled(join(tasks.stateDir, id), signal);
  const task = Task.create(tasks.removals, tasks.stateDir, {
    namespace,
    id,
    bundle,
    labels: request.labels,
    stdio: request.stdio,
    runtime: request.runtime || tasks.runtime,
    runtimeArgs: request.runtime === "" ? tasks.runtimeArgs : request.runtimeArgs,
    shim: tasks.shims.program(),
    noPivotRoot: request.noPivotRoot,
    owner: request.owner,
    endsAt: lifetime === undefined ? undefined : bootTime() + lifetime,
    deleteOnExit: request.deleteOnExit,
  });
  tasks.add(task);
  tasks.metrics.containerCreate.since(began);
  try {
    // Before it takes a worker: the file system of the bundle may hang.
    operation.doing = "reading config.json";
    const spec = await readSpec(bundle, signal);
    operation.doing = "waiting for a start worker";
    await tasks.startWorkers.run(signal, () =>
      withTimeout([signal], tasks.startTimeout, "start-timeout", async (limited) => {
        operation.doing = checkpoint === "" ? "runtime create" : "runtime restore";
        await task.create(spec, checkpoint, limited);
        await andThen(task, limited);
      }),
    );
  } catch (error) {
    tasks.log.error({ id, error: logText(error) }, "containerd: start container");
    deleteTask(tasks, task);
    throw error;
  }
  return task;
}
