import { OperationError } from "../../core/failure/operation-error.js";
import { checkpointContainer, checkpointsOf, removeCheckpoint } from "../../core/tasks/operations/checkpoint.js";
import type { Supervisor } from "../../core/tasks/supervisor.js";
import type {
  CreateCheckpointRequest,
  CreateCheckpointResponse,
  DeleteCheckpointRequest,
  DeleteCheckpointResponse,
  ListCheckpointRequest,
  ListCheckpointResponse,
} from "../../proto/containerd.js";

export async function createCheckpoint(
  supervisor: Supervisor,
  { id, checkpoint, checkpointDir }: CreateCheckpointRequest,
  signal: AbortSignal,
): Promise<CreateCheckpointResponse> {
  if (checkpoint === undefined) throw new OperationError("invalid-argument", "checkpoint cannot be empty");
  await checkpointContainer(supervisor, id, checkpoint, checkpointDir, signal);
  return {};
}

export async function deleteCheckpoint(
  supervisor: Supervisor,
  { id, name, checkpointDir }: DeleteCheckpointRequest,
): Promise<DeleteCheckpointResponse> {
  await removeCheckpoint(supervisor, id, name, checkpointDir);
  return {};
}

export async function listCheckpoint(
  supervisor: Supervisor,
  { id, checkpointDir }: ListCheckpointRequest,
): Promise<ListCheckpointResponse> {
  return { checkpoints: await checkpointsOf(supervisor, id, checkpointDir) };
}
