import { bootTime } from "../../../system/linux/clock.js";
import type { Mount } from "../../../system/mount/mount.js";
import { Failure } from "../../failure/failure.js";
import { logText } from "../../failure/log-text.js";
import { withTimeout } from "../../failure/timeout.js";
import type { Operation } from "../../telemetry/operations.js";
import type { TaskName } from "../history.js";
import { checkIdentifier } from "../identifier.js";
import type { Owner } from "../owner.js";
import type { Stdio } from "../process.js";
import { checkMounts, mountAll, mountSharedMemory } from "../rootfs.js";
import { parseSpec, readSpec, rootIds } from "../runtime/bundle.js";
import { checkpointsDirectory, findCheckpoint } from "../runtime/checkpoint.js";
import { type IoOwner, sharedMemoryIn, Task } from "../task.js";
import type { Tasks } from "../tasks.js";
import { deleteTask, unmounted } from "./delete.js";

export interface CreateRequest extends TaskName {
  /** The path of a bundle; or a config.json, byte for byte, for one that is made with the task. */
  bundle: string | Buffer;
  /** What is mounted at `rootfs` in the bundle. */
  rootfs?: readonly Mount[];
  /** Whether these are overlays of our own layers: they are mounted in this process. */
  isOurRootfs?: boolean;
  /** In bytes, of the memory in `shm` in a bundle that is made with the task; undefined: there is none. */
  sharedMemory?: number | undefined;
  /** Puts more into a bundle that is made with the task: see {@link OwnBundle}. */
  fillBundle?: (bundle: string) => void;
  /** Name of a checkpoint to restore, which also starts the task; "" for a fresh one. */
  checkpoint: string;
  /** "" is the bundle's own. */
  checkpointDir: string;
  stdio: Stdio;
  labels: string[];
  noPivotRoot: boolean;
  noNewKeyring?: boolean | undefined;
  /** The program that the task ends with. */
  owner?: Owner | undefined;
  /** In ms from now: when it is ended, if it still runs. */
  lifetime?: number | undefined;
  /** "" is the daemon's, with its arguments before these. */
  runtime: string;
  runtimeArgs: readonly string[];
  /** Whom its pipes belong to; undefined: the container's root. */
  ioOwner?: IoOwner | undefined;
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
  andThen: (task: Task, signal: AbortSignal) => void | Promise<void>,
): Promise<Task> {
  const began = performance.now();
  const { namespace, id, bundle, lifetime } = request;
  if (bundle === "") throw new Failure("invalid-argument", "missing-value", { name: "bundle path" });
  checkIdentifier("container id", id);
  checkMounts(request.rootfs ?? []);
  const bundlePath = typeof bundle === "string" ? bundle : "";
  const ownSpec = typeof bundle === "string" ? undefined : parseSpec(bundle.toString("utf8"), "config.json");
  const checkpoint =
    request.checkpoint === ""
      ? ""
      : await findCheckpoint(checkpointsDirectory(bundlePath, request.checkpointDir), request.checkpoint, signal);
  const directory = tasks.directoryOf(request);
  await tasks.removals.settled(directory, signal);
  const options = {
    namespace,
    id,
    bundle: bundlePath,
    rootfs: request.rootfs ?? [],
    isOurRootfs: request.isOurRootfs,
    labels: request.labels,
    stdio: request.stdio,
    runtime: request.runtime || tasks.runtime,
    runtimeArgs: request.runtime === "" ? [...tasks.runtimeArgs, ...request.runtimeArgs] : request.runtimeArgs,
    shim: tasks.shims.program(),
    noPivotRoot: request.noPivotRoot,
    noNewKeyring: request.noNewKeyring,
    owner: request.owner,
    endsAt: lifetime === undefined ? undefined : bootTime() + lifetime,
    ioOwner: request.ioOwner,
    deleteOnExit: request.deleteOnExit,
  };
  const own = ownSpec && { config: bundle as Buffer, gid: rootIds(ownSpec).gid, fill: request.fillBundle };
  const task = Task.create(tasks.removals, directory, options, own);
  tasks.add(task);
  tasks.metrics.containerCreate.since(began);
  try {
    // Before it takes a worker: the file system of the bundle may hang.
    operation.doing = "reading config.json";
    const spec = ownSpec ?? (await readSpec(bundlePath, signal));
    operation.doing = "waiting for a start worker";
    await tasks.startWorkers.run(signal, () =>
      withTimeout([signal], tasks.startTimeout, "start-timeout", async (limited) => {
        operation.doing = "mounting the root file system";
        await mountAll(task.rootfs, task.rootfsPath, task.isOurRootfs, limited);
        if (request.sharedMemory !== undefined)
          mountSharedMemory(sharedMemoryIn(task.directory), request.sharedMemory, rootIds(spec));
        operation.doing = checkpoint === "" ? "runtime create" : "runtime restore";
        await task.create(spec, checkpoint, limited);
        await andThen(task, limited);
      }),
    );
  } catch (error) {
    tasks.log.error({ id, error: logText(error) }, "containerd: start container");
    deleteTask(tasks, task);
    await unmounted(tasks, task);
    throw error;
  }
  return task;
}
