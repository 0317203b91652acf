import type {
  CreateCheckpointRequest,
  CreateCheckpointResponse,
  DeleteCheckpointRequest,
  DeleteCheckpointResponse,
  ListCheckpointRequest,
  ListCheckpointResponse,
} from "../proto/containerd.js";
import { OperationError } from "../runtime/operation-error.js";
import { checkpointContainer, checkpointsOf, removeCheckpoint } from "../supervisor/checkpoint.js";
import type { Supervisor } from "../supervisor/supervisor.js";

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
