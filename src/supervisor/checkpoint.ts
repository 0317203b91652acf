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
  const container = supervisor.container(id);
  await container.turns.exclusive(() =>
    createCheckpoint(container.runtime, id, checkpointsDirectory(container.bundle, directory), checkpoint, signal),
  );
}

/** @throws OperationError */
export async function removeCheckpoint(
  supervisor: Supervisor,
  id: string,
  name: string,
  directory: string,
): Promise<void> {
  const container = supervisor.container(id);
  await container.turns.exclusive(async () =>
    deleteCheckpoint(checkpointsDirectory(container.bundle, directory), name),
  );
}

/** A container's checkpoints, by name. Throws OperationError (not-found). */
export function checkpointsOf(supervisor: Supervisor, id: string, directory: string): Checkpoint[] {
  const container = supervisor.containers.get(id);
  if (container === undefined) throw new OperationError("not-found", "no such containers");
  return listCheckpoints(checkpointsDirectory(container.bundle, directory));
}
