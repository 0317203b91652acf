import { Failure } from "../../../core/failure/failure.js";
import { signalProcess } from "../../../core/tasks/operations/signal.js";
import { startOver } from "../../../core/tasks/operations/start-exec.js";
import { type UpdateRequest, update } from "../../../core/tasks/operations/update.js";
import { updateProcess } from "../../../core/tasks/operations/update-process.js";
import { INIT } from "../../../core/tasks/process.js";
import type {
  CloseIORequest,
  KillRequest,
  PauseTaskRequest,
  ResizePtyRequest,
  ResumeTaskRequest,
} from "../../../proto/containerd/services/tasks/v1/tasks.js";
import type { NamespacedCall } from "../front.js";
import type { TaskCalls } from "../tasks.js";
import { nameOf } from "./names.js";

export async function kill({ tasks }: TaskCalls, call: NamespacedCall<KillRequest>): Promise<object> {
  const { execId, signal, all } = call.request;
  // One that is just being started gets it when it runs.
  if (execId !== "") await startOver(tasks.get(nameOf(call)).process(execId));
  signalProcess(tasks, nameOf(call), execId || INIT, signal, all);
  return {};
}

export function resizePty({ tasks }: TaskCalls, call: NamespacedCall<ResizePtyRequest>): object {
  const { execId: pid, width, height } = call.request;
  updateProcess(tasks, { ...nameOf(call), pid, closeStdin: false, width, height });
  return {};
}

export function closeIo({ tasks }: TaskCalls, call: NamespacedCall<CloseIORequest>): object {
  const { execId: pid, stdin: closeStdin } = call.request;
  updateProcess(tasks, { ...nameOf(call), pid, closeStdin, width: 0, height: 0 });
  return {};
}

export const pause = (calls: TaskCalls, call: NamespacedCall<PauseTaskRequest>) => change(calls, call, "pause");

export const resume = (calls: TaskCalls, call: NamespacedCall<ResumeTaskRequest>) => change(calls, call, "resume");

async function change(
  { tasks }: TaskCalls,
  call: NamespacedCall<{ containerId: string }>,
  kind: UpdateRequest["kind"],
): Promise<object> {
  const name = nameOf(call);
  const { status } = tasks.get(name);
  // A runtime would wait until it is, or says so in words of its own.
  if (status !== (kind === "pause" ? "running" : "paused")) {
    throw new Failure("failed-precondition", "refused", { why: `cannot ${kind} a ${status} container` });
  }
  await update(tasks, { ...name, kind }, call.signal);
  return {};
}
