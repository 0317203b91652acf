import { refusal } from "../../core/failure/failure.js";
import { snapshot, state, type TaskSnapshot } from "../../core/tasks/operations/state.js";
import { stats } from "../../core/tasks/operations/stats.js";
import { type UpdateRequest, update } from "../../core/tasks/operations/update.js";
import type { Process } from "../../core/tasks/process.js";
import type { OciProcess } from "../../core/tasks/runtime/spec.js";
import type { Tasks } from "../../core/tasks/tasks.js";
import type {
  Container as ContainerMessage,
  CreateContainerRequest,
  CreateContainerResponse,
  Process as ProcessMessage,
  StateRequest,
  StateResponse,
  StatsRequest,
  StatsResponse,
  UpdateContainerRequest,
  UpdateContainerResponse,
} from "../../proto/containerd.js";
import { machine } from "../../system/linux/machine.js";
import type { Call } from "../grpc/call.js";
import { callerProcess } from "../grpc/peer.js";
import { createAndStart, nameOf } from "./lifecycle.js";
import { ociResources } from "./resources.js";
import { statsMessage } from "./stats.js";
import { stdioOf } from "./stdio.js";

export async function createContainer(
  tasks: Tasks,
  { request, signal, peer }: Call<CreateContainerRequest>,
): Promise<CreateContainerResponse> {
  const { id, bundlePath: bundle, checkpoint, checkpointDir, labels, noPivotRoot, runtime } = request;
  // They belong to the runtime that the request names.
  const runtimeArgs = runtime === "" ? [] : request.runtimeArgs;
  const task = await createAndStart(
    tasks,
    {
      ...{ id, bundle, checkpoint, checkpointDir, stdio: stdioOf(request), labels, noPivotRoot, runtime, runtimeArgs },
      owner: request.owned ? callerProcess(peer) : undefined,
      lifetime: request.lifetime === 0n ? undefined : Number(request.lifetime),
    },
    signal,
  );
  return { container: containerMessage(snapshot(task, [])) };
}

export async function getState(tasks: Tasks, { request: { id } }: Call<StateRequest>): Promise<StateResponse> {
  const containers = (await state(tasks, nameOf(id))).map(containerMessage);
  const { cpus, memory } = machine();
  return { containers, machine: { cpus, memory: BigInt(memory) } };
}

/** What each status in a request asks for. One that is paused or resumed gets no limits changed, whatever else the request says. */
const CHANGES = new Map([
  ["", "update"],
  ["paused", "pause"],
  ["running", "resume"],
] as const) as ReadonlyMap<string, UpdateRequest["kind"]>;

export async function updateContainer(
  tasks: Tasks,
  { request: { id, status, resources }, signal }: Call<UpdateContainerRequest>,
): Promise<UpdateContainerResponse> {
  const kind = CHANGES.get(status);
  if (kind === undefined) {
    // An unknown id is the first error.
    tasks.get(nameOf(id));
    throw refusal("containerd: unknown container status ");
  }
  await update(tasks, { ...nameOf(id), kind, resources: resources && ociResources(resources) }, signal);
  return {};
}

export async function getStats(tasks: Tasks, { request: { id }, signal }: Call<StatsRequest>): Promise<StatsResponse> {
  return statsMessage(await stats(tasks, nameOf(id), signal));
}

function containerMessage({ task, status, processes, pids }: TaskSnapshot): ContainerMessage {
  return {
    id: task.id,
    bundlePath: task.bundle,
    processes: processes.map(processMessage),
    status,
    labels: task.labels,
    pids,
    runtime: task.runtime.name,
  };
}

function processMessage({ id, state, stdio, systemPid }: Process): ProcessMessage {
  const { user } = state;
  return {
    pid: id,
    terminal: state.terminal ?? false,
    user: { uid: user?.uid ?? 0, gid: user?.gid ?? 0, additionalGids: user?.additionalGids ?? [] },
    args: state.args ?? [],
    env: state.env ?? [],
    cwd: state.cwd ?? "",
    systemPid,
    ...stdioOf(stdio),
    capabilities: effectiveCapabilities(state),
    apparmorProfile: state.apparmorProfile ?? "",
    selinuxLabel: state.selinuxLabel ?? "",
    noNewPrivileges: state.noNewPrivileges ?? false,
    rlimits: (state.rlimits ?? []).map(({ type, soft, hard }) => ({ type, soft: BigInt(soft), hard: BigInt(hard) })),
  };
}

/** The message has one list for all sets: the effective one, whichever form they have. */
function effectiveCapabilities(process: OciProcess): string[] {
  const { capabilities } = process;
  return (Array.isArray(capabilities) ? capabilities : capabilities?.effective) ?? [];
}
