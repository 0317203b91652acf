import { type Grace, withGrace } from "../../failure/deadline.js";
import {
  type Checkpoint,
  checkpointsDirectory,
  createCheckpoint,
  deleteCheckpoint,
  listCheckpoints,
} from "../runtime/checkpoint.js";
import type { Supervisor } from "../supervisor.js";

/** In ms: what a checkpoint gets to end by itself once nobody waits for it any more, and once its container has exited. */
const PATIENCE = 30_000;
const PATIENCE_AFTER_EXIT = 10_000;

/**
 * Saves a container; with `checkpoint.exit` it ends.
 * @param directory "" is the bundle's own
 * @param signal nobody waits any more: a checkpoint that has not begun does not. One that has is let end: killed in the middle, CRIU would
 * leave the processes stopped, with its own code in them
 * @throws Failure; the container runs on then
 */
export async function checkpointContainer(
  supervisor: Supervisor,
  id: string,
  checkpoint: Checkpoint,
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  await supervisor.operations.run({ kind: "checkpoint", id }, async (operation) => {
    const container = supervisor.container(id);
    operation.doing = "waiting for its turn";
    await container.turns.exclusive(async () => {
      signal.throwIfAborted();
      container.exited.throwIfAborted();
      const began = performance.now();
      operation.doing = "runtime checkpoint";
      const path = checkpointsDirectory(container.bundle, directory);
      const graces: Grace[] = [
        [signal, PATIENCE],
        [container.exited, PATIENCE_AFTER_EXIT],
      ];
      await withGrace(graces, (limited) => createCheckpoint(container.runtime, id, path, checkpoint, limited));
      if (signal.aborted && !checkpoint.exit) {
        // The caller does not know of it; with `exit` it is all that there is of the container.
        await deleteCheckpoint(path, checkpoint.name);
        signal.throwIfAborted();
      }
      supervisor.log.info(
        { id, checkpoint: checkpoint.name, duration: Math.round(performance.now() - began) },
        "containerd: container checkpointed",
      );
    });
  });
}

/** @throws Failure */
export async function removeCheckpoint(
  supervisor: Supervisor,
  id: string,
  name: string,
  directory: string,
): Promise<void> {
  await supervisor.operations.run({ kind: "delete-checkpoint", id }, async (operation) => {
    const container = supervisor.container(id);
    operation.doing = "waiting for its turn";
    await container.turns.exclusive(async () => {
      operation.doing = "removing the files";
      await deleteCheckpoint(checkpointsDirectory(container.bundle, directory), name);
    });
  });
}

/** A container's checkpoints, by name. Throws Failure (not-found). */
export async function checkpointsOf(supervisor: Supervisor, id: string, directory: string): Promise<Checkpoint[]> {
  const container = supervisor.container(id);
  return await listCheckpoints(checkpointsDirectory(container.bundle, directory));
}
