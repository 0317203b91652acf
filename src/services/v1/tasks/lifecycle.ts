import { secondsAndNanos } from "../../../contract/go/rfc3339.js";
import type { CheckpointPlace } from "../../../core/checkpoints/checkpoint-blobs.js";
import type { ContainerRecord } from "../../../core/containers/container-record.js";
import { isEngines, isEnginesTask, managed } from "../../../core/engine/kept-container.js";
import { Failure, refusal } from "../../../core/failure/failure.js";
import { checkIdentifier } from "../../../core/metadata/identifier.js";
import { addKept } from "../../../core/tasks/operations/add-exec.js";
import { create as createTask } from "../../../core/tasks/operations/create.js";
import { type DeletedProcess, deleteStopped, deleteStoppedExec } from "../../../core/tasks/operations/delete.js";
import { keepCreated } from "../../../core/tasks/operations/keep.js";
import { startCreated } from "../../../core/tasks/operations/start.js";
import { startAdded } from "../../../core/tasks/operations/start-exec.js";
import type {
  CreateTaskRequest,
  CreateTaskResponse,
  DeleteProcessRequest,
  DeleteResponse,
  DeleteTaskRequest,
  ExecProcessRequest,
  StartRequest,
  StartResponse,
} from "../../../proto/containerd/services/tasks/v1/tasks.js";
import type { Descriptor } from "../../../proto/containerd/types/descriptor.js";
import type { NamespacedCall } from "../front.js";
import type { TaskCalls } from "../tasks.js";
import { CRIU_IMAGES, placeOf } from "./checkpoint.js";
import { jsonObject } from "./json-object.js";
import { nameOf } from "./names.js";
import { runtimeOptions } from "./runtime-options.js";
import { explainingStdio, stdioOf } from "./stdio.js";

export async function create(
  { tasks, containers, checkpoints }: TaskCalls,
  call: NamespacedCall<CreateTaskRequest>,
): Promise<CreateTaskResponse> {
  const { request, namespace, signal } = call;
  const { containerId } = request;
  const record = await containers.get(namespace, containerId);
  if (isEngines(record)) throw managed(containerId, "started");
  const { checkpoint: saved, ...asked } = runtimeOptions(record, request.options, namespace, tasks.rootArgs(namespace));
  const stdio = await stdioOf(call);
  await tasks.runDirectory.make(namespace);
  const wanted = {
    ...nameOf(call),
    bundle: specOf(record),
    rootfs: request.rootfs,
    stdio,
    labels: [],
    ...asked,
    deleteOnExit: false,
  };
  const task = await tasks.operations.run({ kind: "create", id: containerId }, (operation) =>
    explainingStdio(stdio, async () => {
      const from = (place: CheckpointPlace) =>
        createTask(tasks, { ...wanted, ...place }, signal, operation, (created) => keepCreated(tasks, created));
      if (saved !== "" || request.checkpoint === undefined) return await from(savedAt(saved));
      operation.doing = "unpacking the checkpoint";
      return await checkpoints.withUnpacked(namespace, digestOf(request.checkpoint), signal, from);
    }),
  );
  return { containerId, pid: task.init?.systemPid ?? 0 };
}

function savedAt(path: string): CheckpointPlace {
  if (path === "") return { checkpoint: "", checkpointDir: "" };
  const { name, directory } = placeOf("criu_image_path", path);
  return { checkpoint: name, checkpointDir: directory };
}

/** Of the content that a checkpoint is. */
function digestOf({ mediaType, digest }: Descriptor): string {
  if (mediaType !== CRIU_IMAGES) throw refusal(`unsupported checkpoint type ${JSON.stringify(mediaType)}`);
  return digest;
}

function specOf({ id, spec }: ContainerRecord): Buffer {
  if (spec === undefined) {
    throw refusal(`container ${JSON.stringify(id)} has no spec`);
  }
  return spec.value;
}

/** Not called off by a caller who leaves: then it would be between two states. */
export async function start({ tasks }: TaskCalls, call: NamespacedCall<StartRequest>): Promise<StartResponse> {
  const { execId } = call.request;
  const name = nameOf(call);
  if (execId === "" && isEnginesTask(tasks.get(name))) throw managed(name.id, "started");
  if (execId === "") return { pid: (await startCreated(tasks, name)).systemPid };
  const { stdio } = tasks.get(name).process(execId);
  const { systemPid: pid } = await explainingStdio(stdio, () => startAdded(tasks, name, execId));
  return { pid };
}

export async function exec({ tasks }: TaskCalls, call: NamespacedCall<ExecProcessRequest>): Promise<object> {
  const { request, signal } = call;
  const { execId: name, terminal } = request;
  checkIdentifier(name);
  if (tasks.get(nameOf(call)).isPaused) {
    throw new Failure("failed-precondition", "refused", { why: "cannot exec in a paused state" });
  }
  const process = { ...jsonObject("process of the exec", request.spec?.value ?? Buffer.alloc(0)), terminal };
  await addKept(tasks, nameOf(call), { name, process, stdio: await stdioOf(call) }, signal);
  return {};
}

export async function deleteTask(
  { tasks }: TaskCalls,
  call: NamespacedCall<DeleteTaskRequest>,
): Promise<DeleteResponse> {
  const name = nameOf(call);
  if (isEnginesTask(tasks.get(name))) throw managed(name.id, "removed");
  return deletedMessage("", await deleteStopped(tasks, name));
}

export function deleteProcess({ tasks }: TaskCalls, call: NamespacedCall<DeleteProcessRequest>): DeleteResponse {
  const { execId } = call.request;
  return deletedMessage(execId, deleteStoppedExec(tasks, nameOf(call), execId));
}

/** @param id of an exec; "" for a task, as containerd has it */
function deletedMessage(id: string, { pid, exit }: DeletedProcess): DeleteResponse {
  return { id, pid, exitStatus: exit?.status ?? 0, exitedAt: exit && secondsAndNanos(exit.at) };
}
