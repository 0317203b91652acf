import { join } from "node:path";
import { type GracePeriod, withGrace } from "../../failure/timeout.js";
import type { TaskName } from "../history.js";
import {
  type Checkpoint,
  checkpointsDirectory,
  createCheckpoint,
  deleteCheckpoint,
  listCheckpoints,
} from "../runtime/checkpoint.js";
import type { Tasks } from "../tasks.js";

/** In ms: the grace period of a checkpoint whose caller has gone, and of one whose container has exited; then it is killed. */
const GRACE = 30_000;
const GRACE_AFTER_EXIT = 10_000;

/**
 * Saves a container; with `checkpoint.exit` it ends.
 * @param signal the caller has gone: a checkpoint that has not begun is called off. One that has begun gets a grace period: CRIU, when
 *   killed halfway, leaves the processes stopped, with its own code in them
 * @param directory "" is the bundle's own
 * @param failed called with the directory of CRIU's log, before that is removed
 * @throws Failure; the container runs on then
 */
export async function checkpointContainer(
  tasks: Tasks,
  name: TaskName,
  checkpoint: Checkpoint,
  directory: string,
  signal: AbortSignal,
  failed?: (work: string) => Promise<void>,
): Promise<void> {
  await tasks.operations.run({ kind: "checkpoint", id: name.id }, async (operation) => {
    const task = tasks.get(name);
    operation.doing = "waiting for its turn";
    await task.turns.exclusive(async () => {
      signal.throwIfAborted();
      task.exited.throwIfAborted();
      const began = performance.now();
      operation.doing = "runtime checkpoint";
      const path = checkpointsDirectory(task.bundle, directory);
      const graces: GracePeriod[] = [
        [signal, GRACE],
        [task.exited, GRACE_AFTER_EXIT],
      ];
      task.wasPaused = task.isPaused;
      try {
        await withGrace(graces, (limited) =>
          createCheckpoint(task.runtime, task.id, path, checkpoint, limited, failed),
        );
      } finally {
        task.wasPaused = undefined;
      }
      if (signal.aborted && !checkpoint.exit) {
        // The caller does not know of it; with `exit` it is all that there is of the container.
        await deleteCheckpoint(path, checkpoint.name);
        signal.throwIfAborted();
      }
      tasks.reports.tellCheckpoint(task, join(path, checkpoint.name));
      tasks.log.info(
        { id: task.id, checkpoint: checkpoint.name, duration: Math.round(performance.now() - began) },
        "containerd: container checkpointed",
      );
    });
  });
}

/** @throws Failure */
export async function removeCheckpoint(
  tasks: Tasks,
  name: TaskName,
  checkpoint: string,
  directory: string,
): Promise<void> {
  await tasks.operations.run({ kind: "delete-checkpoint", id: name.id }, async (operation) => {
    const task = tasks.get(name);
    operation.doing = "waiting for its turn";
    await task.turns.exclusive(async () => {
      operation.doing = "removing the files";
      await deleteCheckpoint(checkpointsDirectory(task.bundle, directory), checkpoint);
    });
  });
}

/** A container's checkpoints, by name. Throws Failure (not-found). */
export async function checkpointsOf(tasks: Tasks, name: TaskName, directory: string): Promise<Checkpoint[]> {
  const task = tasks.get(name);
  return await listCheckpoints(checkpointsDirectory(task.bundle, directory));
}
