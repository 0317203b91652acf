import {
  type Checkpoint,
  checkpointsDirectory,
  createCheckpoint,
  deleteCheckpoint,
  listCheckpoints,
} from "../runtime/checkpoint.js";
import { OperationError } from "../runtime/operation-error.js";
import type { Supervisor } from "./supervisor.js";

/**
 * Saves a container; with `checkpoint.exit` it ends.
 * @param directory "" is the bundle's own
 * @throws OperationError; the container runs on then
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
      const began = performance.now();
      operation.doing = "runtime checkpoint";
      await createCheckpoint(
        container.runtime,
        id,
        checkpointsDirectory(container.bundle, directory),
        checkpoint,
        signal,
      );
      supervisor.log.info(
        { id, checkpoint: checkpoint.name, duration: Math.round(performance.now() - began) },
        "containerd: container checkpointed",
      );
    });
  });
}

/** @throws OperationError */
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
      deleteCheckpoint(checkpointsDirectory(container.bundle, directory), name);
    });
  });
}

/** A container's checkpoints, by name. Throws OperationError (not-found). */
export function checkpointsOf(supervisor: Supervisor, id: string, directory: string): Checkpoint[] {
  const container = supervisor.containers.get(id);
  if (container === undefined) throw new OperationError("not-found", "no such containers");
  return listCheckpoints(checkpointsDirectory(container.bundle, directory));
}
