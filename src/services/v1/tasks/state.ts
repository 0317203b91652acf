import { secondsAndNanos } from "../../../contract/go/rfc3339.js";
import { pidsOf } from "../../../core/tasks/operations/state.js";
import { waitForExit } from "../../../core/tasks/operations/wait.js";
import { INIT, type Process } from "../../../core/tasks/process.js";
import type { Task } from "../../../core/tasks/task.js";
import type {
  GetRequest,
  GetResponse,
  ListPidsRequest,
  ListPidsResponse,
  ListTasksRequest,
  ListTasksResponse,
  WaitRequest,
  WaitResponse,
} from "../../../proto/containerd/services/tasks/v1/tasks.js";
import { ProcessDetails } from "../../../proto/containerd/types/runc/options/oci.js";
import { type Process as ProcessMessage, Status } from "../../../proto/containerd/types/task/task.js";
import type { NamespacedCall } from "../front.js";
import type { TaskCalls } from "../tasks.js";
import { nameOf } from "./names.js";

export function get({ tasks }: TaskCalls, call: NamespacedCall<GetRequest>): GetResponse {
  const task = tasks.get(nameOf(call));
  return { process: processMessage(task, task.process(call.request.execId || INIT)) };
}

export function list({ tasks }: TaskCalls, { namespace }: NamespacedCall<ListTasksRequest>): ListTasksResponse {
  return { tasks: tasks.list(namespace).map((task) => processMessage(task, task.process(INIT))) };
}

function processMessage(task: Task, proc: Process): ProcessMessage {
  const { id, systemPid: pid, state, stdio, exit } = proc;
  return {
    containerId: task.id,
    id: id === INIT ? task.id : id,
    pid,
    status: statusOf(task, proc),
    ...stdio,
    terminal: state.terminal ?? false,
    exitStatus: exit?.status ?? 0,
    exitedAt: exit && secondsAndNanos(exit.at),
  };
}

function statusOf(task: Task, { status }: Process): Status {
  if (status === "added") return Status.CREATED;
  if (status === "stopped") return Status.STOPPED;
  return task.isPaused ? Status.PAUSED : Status.RUNNING;
}

export async function listPids({ tasks }: TaskCalls, call: NamespacedCall<ListPidsRequest>): Promise<ListPidsResponse> {
  const task = tasks.get(nameOf(call));
  const pids = task.status === "stopped" ? [] : await pidsOf(task);
  const execs = new Map([...task.processes.values()].map(({ id, systemPid }) => [systemPid, id]));
  return { processes: pids.map((pid) => ({ pid, info: detailsOf(execs.get(pid)) })) };
}

function detailsOf(execId: string | undefined) {
  if (execId === undefined || execId === INIT) return undefined;
  const value = Buffer.from(ProcessDetails.encode({ execId }).finish());
  return { typeUrl: "containerd.runc.v1.ProcessDetails", value };
}

export async function wait({ tasks }: TaskCalls, call: NamespacedCall<WaitRequest>): Promise<WaitResponse> {
  const task = tasks.get(nameOf(call));
  const { status, at } = await waitForExit(tasks, task, task.process(call.request.execId || INIT), call.signal);
  return { exitStatus: status, exitedAt: secondsAndNanos(at) };
}
