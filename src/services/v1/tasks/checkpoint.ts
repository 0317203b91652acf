import { basename, dirname, isAbsolute, normalize } from "node:path";
import type { ContentInfo } from "../../../core/content/content.js";
import { writeBlob } from "../../../core/content/write-blob.js";
import { Failure, refusal } from "../../../core/failure/failure.js";
import { checkpointContainer } from "../../../core/tasks/operations/checkpoint.js";
import type { Checkpoint } from "../../../core/tasks/runtime/checkpoint.js";
import type {
  CheckpointTaskRequest,
  CheckpointTaskResponse,
} from "../../../proto/containerd/services/tasks/v1/tasks.js";
import type { Descriptor } from "../../../proto/containerd/types/descriptor.js";
import { CheckpointOptions } from "../../../proto/containerd/types/runc/options/oci.js";
import { Any } from "../../../proto/google/protobuf/any.js";
import type { NamespacedCall } from "../front.js";
import type { TaskCalls } from "../tasks.js";
import { nameOf } from "./names.js";

/** An archive of CRIU's images. */
export const CRIU_IMAGES = "application/vnd.containerd.container.criu.checkpoint.criu.tar";
/** The container's specification, an Any in protobuf's form. */
const CONFIG = "application/vnd.containerd.container.checkpoint.config.v1+proto";

/** Saves a task in a new directory, or, when none is named, as content. */
export async function checkpoint(
  calls: TaskCalls,
  call: NamespacedCall<CheckpointTaskRequest>,
): Promise<CheckpointTaskResponse> {
  const { tasks } = calls;
  tasks.get(nameOf(call)).requireRunning();
  const options = optionsOf(call.request.options);
  const { exit, openTcp: tcp, externalUnixSockets: unixSockets, terminal: shell, emptyNamespaces: emptyNS } = options;
  const how = { exit, tcp, unixSockets, shell, emptyNS };
  if (options.imagePath === "") return { descriptors: await saveAsContent(calls, call, how) };
  const { directory, name } = placeOf("image_path", options.imagePath);
  await checkpointContainer(tasks, nameOf(call), { name, ...how }, directory, call.signal);
  return { descriptors: [] };
}

async function saveAsContent(
  { containers, content, checkpoints }: TaskCalls,
  call: NamespacedCall<CheckpointTaskRequest>,
  how: Omit<Checkpoint, "name">,
): Promise<Descriptor[]> {
  const { namespace, request, metadata, signal } = call;
  const { lease } = metadata;
  const { spec } = await containers.get(namespace, request.containerId);
  const blob = { namespace, ref: "", kind: "checkpoint-config", lease };
  const config = await writeBlob(content, blob, async (ingest) => {
    await ingest.write(Buffer.from(Any.encode(Any.fromPartial(spec ?? {})).finish()));
    return {};
  });
  const images = await checkpoints.save(nameOf(call), how, { lease, signal });
  return [descriptorOf(CRIU_IMAGES, images), descriptorOf(CONFIG, config)];
}

function descriptorOf(mediaType: string, { digest, size }: ContentInfo): Descriptor {
  return { mediaType, digest, size: BigInt(size), annotations: {} };
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
