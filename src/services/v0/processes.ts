import { signalProcess } from "../../core/tasks/operations/signal.js";
import { updateProcess as update } from "../../core/tasks/operations/update-process.js";
import { capabilitySets, type OciProcess } from "../../core/tasks/runtime/spec.js";
import type { Tasks } from "../../core/tasks/tasks.js";
import type {
  AddProcessRequest,
  AddProcessResponse,
  SignalRequest,
  SignalResponse,
  UpdateProcessRequest,
  UpdateProcessResponse,
} from "../../proto/containerd.js";
import type { Call } from "../grpc/call.js";
import { addAndStart, nameOf } from "./lifecycle.js";
import { stdioOf } from "./stdio.js";

export async function addProcess(
  tasks: Tasks,
  { request, signal }: Call<AddProcessRequest>,
): Promise<AddProcessResponse> {
  const { id, pid: name } = request;
  const stdio = stdioOf(request);
  const proc = await addAndStart(tasks, id, name, (init) => ({ process: ociProcess(request, init), stdio }), signal);
  return { systemPid: proc.systemPid };
}

/**
 * The process that a request asks for.
 * @param init the container's, of which it gets what the request leaves out, or has no field for
 */
function ociProcess(request: AddProcessRequest, init: OciProcess | undefined): OciProcess {
  const { user, env, rlimits } = request;
  const umask = init?.user?.umask;
  return {
    terminal: request.terminal,
    user: {
      uid: user?.uid ?? 0,
      gid: user?.gid ?? 0,
      additionalGids: user?.additionalGids ?? [],
      // Runtimes do not look at the container's by themselves.
      ...(umask === undefined ? {} : { umask }),
    },
    args: request.args,
    env: env.length > 0 ? env : init?.env,
    cwd: request.cwd || init?.cwd || "/",
    // Also when it is empty: without the field the runtime would give it the container's.
    capabilities: capabilitySets(request.capabilities),
    ...(rlimits.length > 0 ? { rlimits } : {}),
    noNewPrivileges: request.noNewPrivileges,
    // Not as empty ones: crun would look for a profile without a name.
    ...(request.apparmorProfile !== "" ? { apparmorProfile: request.apparmorProfile } : {}),
    ...(request.selinuxLabel !== "" ? { selinuxLabel: request.selinuxLabel } : {}),
  };
}

export function signal(tasks: Tasks, { request }: Call<SignalRequest>): SignalResponse {
  signalProcess(tasks, nameOf(request.id), request.pid, request.signal);
  return {};
}

export function updateProcess(tasks: Tasks, { request }: Call<UpdateProcessRequest>): UpdateProcessResponse {
  update(tasks, { ...request, ...nameOf(request.id) });
  return {};
}
