import { Failure, isFailure } from "../../core/failure/failure.js";
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
import type { Call } from "../grpc/call.js";
import { refusal } from "./words.js";

export async function createCheckpoint(
  supervisor: Supervisor,
  { request: { id, checkpoint, checkpointDir }, signal }: Call<CreateCheckpointRequest>,
): Promise<CreateCheckpointResponse> {
  if (checkpoint === undefined) throw refusal("checkpoint cannot be empty");
  await checkpointContainer(supervisor, id, checkpoint, checkpointDir, signal);
  return {};
}

export async function deleteCheckpoint(
  supervisor: Supervisor,
  { request: { id, name, checkpointDir } }: Call<DeleteCheckpointRequest>,
): Promise<DeleteCheckpointResponse> {
  await removeCheckpoint(supervisor, id, name, checkpointDir);
  return {};
}

export async function listCheckpoint(
  supervisor: Supervisor,
  { request: { id, checkpointDir } }: Call<ListCheckpointRequest>,
): Promise<ListCheckpointResponse> {
  try {
    return { checkpoints: await checkpointsOf(supervisor, id, checkpointDir) };
  } catch (error) {
    // The original has other words for it here than anywhere else.
    if (isFailure(error, "container-not-found"))
      throw new Failure("not-found", "refused", { why: "no such containers" });
    throw error;
  }
}
