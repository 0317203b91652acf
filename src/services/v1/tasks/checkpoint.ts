import { basename, dirname, isAbsolute, normalize } from "node:path";
import { Failure, refusal } from "../../../core/failure/failure.js";
import { checkpointContainer } from "../../../core/tasks/operations/checkpoint.js";
import type {
  CheckpointTaskRequest,
  CheckpointTaskResponse,
} from "../../../proto/containerd/services/tasks/v1/tasks.js";
import { CheckpointOptions } from "../../../proto/containerd/types/runc/options/oci.js";
import type { Any } from "../../../proto/google/protobuf/any.js";
import type { NamespacedCall } from "../front.js";
import type { TaskCalls } from "../tasks.js";
import { nameOf } from "./names.js";

/** Saves a task in a new directory. */
export async function checkpoint(
  { tasks }: TaskCalls,
  call: NamespacedCall<CheckpointTaskRequest>,
): Promise<CheckpointTaskResponse> {
  tasks.get(nameOf(call)).requireRunning();
  const options = optionsOf(call.request.options);
  // A checkpoint without a place of its own becomes an image in containerd.
  if (options.imagePath === "") {
    throw new Failure("unimplemented", "refused", {
      why: "checkpoints that become images; image_path names a directory",
    });
  }
  const { directory, name } = placeOf("image_path", options.imagePath);
  const { exit, openTcp: tcp, externalUnixSockets: unixSockets, terminal: shell, emptyNamespaces: emptyNS } = options;
  const saved = { name, exit, tcp, unixSockets, shell, emptyNS };
  await checkpointContainer(tasks, nameOf(call), saved, directory, call.signal);
  return { descriptors: [] };
}

/** Where a checkpoint is, in the terms of those who make and find it. Throws Failure (invalid-argument). */
export function placeOf(what: string, path: string): { directory: string; name: string } {
  const name = basename(path);
  if (!isAbsolute(path) || normalize(path) !== path || name === "") {
    const why = "not an absolute path without detours";
    throw new Failure("invalid-argument", "invalid-value", { name: what, value: path, why });
  }
  return { directory: dirname(path), name };
}

const TYPE = "containerd.runc.v1.CheckpointOptions";

function optionsOf(options: Any | undefined): CheckpointOptions {
  const { typeUrl, value } = options ?? { typeUrl: "", value: Buffer.alloc(0) };
  if (typeUrl === "") return CheckpointOptions.fromPartial({});
  if (typeUrl !== TYPE) throw refusal(`options of type ${JSON.stringify(typeUrl)}, which is not known here`);
  try {
    return CheckpointOptions.decode(value);
  } catch (error) {
    throw refusal(`options of type ${JSON.stringify(typeUrl)} can't be read: ${(error as Error).message}`);
  }
}
