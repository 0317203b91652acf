import type { TaskName } from "../../tasks/history.js";
import { create as createTask } from "../../tasks/operations/create.js";
import { deleteStopped } from "../../tasks/operations/delete.js";
import { keepCreated } from "../../tasks/operations/keep.js";
import { startCreated } from "../../tasks/operations/start.js";
import type { Process, Stdio } from "../../tasks/process.js";
import type { Engine } from "../engine.js";
import type { EngineContainer } from "../engine-container.js";
import { type KeptContainer, TASK_MARK } from "../kept-container.js";
import type { RootFileSystem } from "../root-file-system.js";
import { follow } from "./ended.js";

export interface Launch {
  container: EngineContainer;
  kept: KeptContainer;
  /** The config.json of its bundle. */
  spec: Buffer;
  root: RootFileSystem;
  /** Puts its files into the bundle. */
  fill: (bundle: string) => void;
  stdio: Stdio;
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
  const { container, kept, spec, root, fill, stdio, written } = wanted;
  const { namespace, id } = container;
  const name: TaskName = { namespace, id };
  written.catch(() => {});
  await tasks.runDirectory.make(namespace);
  // What an earlier daemon has begun, and not written down, goes first.
  await tasks.restored(name, { signal });
  await tasks.operations.run({ kind: "create", id }, (operation) =>
    createTask(
      tasks,
      {
        ...name,
        bundle: spec,
        rootfs: root.mounts,
        isOurRootfs: root.isOurs,
        fillBundle: (bundle) => {
          root.fill(bundle);
          fill(bundle);
        },
        checkpoint: "",
        checkpointDir: "",
        stdio,
        labels: [TASK_MARK],
        noPivotRoot: false,
        runtime: kept.config.runtime,
        runtimeArgs: [...tasks.rootArgs(namespace), ...(engine.systemdCgroup ? ["--systemd-cgroup"] : [])],
        ...(kept.lifetime > 0 && { lifetime: kept.lifetime }),
        deleteOnExit: false,
      },
      signal,
      operation,
      async (task) => {
        await keepCreated(tasks, task);
      },
    ),
  );
  try {
    await written;
    signal.throwIfAborted();
    const init = await startCreated(tasks, name);
    follow(engine, container, tasks.get(name));
    return init;
  } catch (error) {
    await deleteStopped(tasks, name);
    throw error;
  }
}
