import { Failure, isFailure, refusal } from "../../core/failure/failure.js";
import { checkpointContainer, checkpointsOf, removeCheckpoint } from "../../core/tasks/operations/checkpoint.js";
import type { Tasks } from "../../core/tasks/tasks.js";
import type {
  CreateCheckpointRequest,
  CreateCheckpointResponse,
  DeleteCheckpointRequest,
  DeleteCheckpointResponse,
  ListCheckpointRequest,
  ListCheckpointResponse,
} from "../../proto/containerd.js";
import type { Call } from "../grpc/call.js";
import { nameOf } from "./lifecycle.js";

export async function createCheckpoint(
  tasks: Tasks,
  { request: { id, checkpoint, checkpointDir }, signal }: Call<CreateCheckpointRequest>,
): Promise<CreateCheckpointResponse> {
  if (checkpoint === undefined) throw refusal("checkpoint cannot be empty");
  await checkpointContainer(tasks, nameOf(id), checkpoint, checkpointDir, signal);
  return {};
}

export async function deleteCheckpoint(
  tasks: Tasks,
  { request: { id, name, checkpointDir } }: Call<DeleteCheckpointRequest>,
): Promise<DeleteCheckpointResponse> {
  await removeCheckpoint(tasks, nameOf(id), name, checkpointDir);
  return {};
}

export async function listCheckpoint(
  tasks: Tasks,
  { request: { id, checkpointDir } }: Call<ListCheckpointRequest>,
): Promise<ListCheckpointResponse> {
  try {
    return { checkpoints: await checkpointsOf(tasks, nameOf(id), checkpointDir) };
  } catch (error) {
    // The original has other words for it here than anywhere else.
    if (isFailure(error, "container-not-found"))
      throw new Failure("not-found", "refused", { why: "no such containers" });
    throw error;
  }
}
