import { dirname, join } from "node:path";
import { closedToOthers } from "../../../system/linux/searchable.js";
import { Failure } from "../../failure/failure.js";
import { onForeignFiles } from "../../files/foreign-files.js";
import type { TaskName } from "../../tasks/history.js";
import { create as createTask } from "../../tasks/operations/create.js";
import { deleteStopped } from "../../tasks/operations/delete.js";
import { keepCreated } from "../../tasks/operations/keep.js";
import { startCreated } from "../../tasks/operations/start.js";
import type { Process, Stdio } from "../../tasks/process.js";
import { WORK } from "../../tasks/runtime/checkpoint.js";
import { bundleIn } from "../../tasks/task.js";
import { type CheckpointPlace, criuLog, withLog } from "../checkpoints.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { type KeptContainer, TASK_MARK } from "../kept-container.js";
import { fillStdio, ownStdio } from "../logs/own-stdio.js";
import type { RootFileSystem } from "../root-file-system.js";
import { cgroupArgsOf } from "../spec/cgroups-path.js";
import { sharedMemorySize } from "../spec/mounts.js";
import { follow } from "./ended.js";
import { withVolumes } from "./volumes.js";

export interface Launch {
  container: EngineContainer;
  kept: KeptContainer;
  /** The config.json of its bundle. */
  spec: Buffer;
  root: RootFileSystem;
  /** Puts its files into the bundle. */
  fill: (bundle: string) => void;
  stdio: Stdio;
  /** That it begins with; undefined: from the beginning. */
  checkpoint?: CheckpointPlace | undefined;
  /** Resolves once it is on the disk that there may be a task. */
  written: Promise<unknown>;
}

/**
 * Makes a container's task, and has it run.
 * @param signal ends the attempt, until its process runs
 * @throws Failure; there is no task then
 */
export async function launch(engine: Engine, wanted: Launch, signal: AbortSignal): Promise<Process> {
  const { tasks } = engine;
  const { container, kept, spec, root, fill, written } = wanted;
  const { namespace, id } = container;
  const name: TaskName = { namespace, id };
  written.catch(() => {});
  await tasks.runDirectory.make(namespace);
  // What an earlier daemon has begun, and not written down, goes first.
  await tasks.restored(name, { signal });
  engine.networks.prepare(container);
  const bundle = bundleIn(tasks.directoryOf(name));
  const stdio = ownStdio(engine.logs, container, kept.config, wanted.stdio, bundle);
  const creating = tasks.operations.run({ kind: "create", id }, (operation) =>
    withVolumes(engine, name, kept, () =>
      createTask(
        tasks,
        {
          ...name,
          bundle: spec,
          rootfs: root.mounts,
          isOurRootfs: root.isOurs,
          sharedMemory: kept.config.ipc.mode === "shareable" ? sharedMemorySize(kept.config) : undefined,
          fillBundle: (bundle) => {
            root.fill(bundle);
            fill(bundle);
            fillStdio(bundle, stdio);
          },
          checkpoint: wanted.checkpoint?.name ?? "",
          checkpointDir: wanted.checkpoint?.directory ?? "",
          stdio,
          labels: [TASK_MARK],
          noPivotRoot: false,
          runtime: kept.config.runtime,
          runtimeArgs: [...tasks.rootArgs(namespace), ...cgroupArgsOf(engine)],
          ...(kept.lifetime > 0 && { lifetime: kept.lifetime }),
          deleteOnExit: false,
        },
        signal,
        operation,
        async (task) => {
          await keepCreated(tasks, task);
        },
      ),
    ),
  );
  await creating.catch(async (error: unknown) => {
    if (wanted.checkpoint !== undefined) throw await ofRestore(error, wanted.checkpoint);
    throw await explained(error, wanted, tasks.runDirectory.taskDirectory(name));
  });
  try {
    await written;
    await engine.networks.enter(container, tasks.get(name).init!, signal);
    signal.throwIfAborted();
    const init = await startCreated(tasks, name);
    follow(engine, container, tasks.get(name));
    return init;
  } catch (error) {
    await deleteStopped(tasks, name);
    throw await explained(error, wanted, tasks.runDirectory.taskDirectory(name));
  }
}

/** With what CRIU has logged. */
async function ofRestore(error: unknown, { directory, name }: CheckpointPlace): Promise<unknown> {
  if (!(error instanceof Failure && error.kind === "internal")) return error;
  const work = join(directory, name, WORK);
  const log = await onForeignFiles(directory, () => criuLog(work)).catch(() => "");
  return log === "" ? error : withLog(error, log);
}

/**
 * The runtime says only that something was denied, not where: looked for once it has failed, as access may be given by other means, too.
 */
async function explained(error: unknown, { kept, root }: Launch, taskDirectory: string): Promise<unknown> {
  const { message } = error as Error;
  if (kept.idMaps === undefined || !/permission denied/i.test(message)) return error;
  const isOfHost = root.mounts.length === 0;
  // The task's own directory is gone with the attempt.
  const path = isOfHost ? kept.config.rootfs : dirname(taskDirectory);
  const closed = await onForeignFiles(path, () => closedToOthers(path)).catch(() => undefined);
  if (closed === undefined) return error;
  const why =
    `the users of a container with ids of its own (userns) can't get to ${isOfHost ? path : "its root file system"}: ` +
    `${closed} is closed to others: chmod o+x ${closed}${isOfHost ? "" : ", or start the daemon with another --run-dir"}`;
  return new Failure("failed-precondition", "refused", { why }, { cause: error });
}
