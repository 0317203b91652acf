import { exec } from "../../core/tasks/operations/exec.js";
import { signalProcess } from "../../core/tasks/operations/signal.js";
import { updateProcess as update } from "../../core/tasks/operations/update-process.js";
import { capabilitySets } from "../../core/tasks/runtime/spec.js";
import type { Supervisor } from "../../core/tasks/supervisor.js";
import type {
  AddProcessRequest,
  AddProcessResponse,
  SignalRequest,
  SignalResponse,
  UpdateProcessRequest,
  UpdateProcessResponse,
} from "../../proto/containerd.js";
import type { Call } from "../grpc/call.js";
import { stdioOf } from "./stdio.js";

export async function addProcess(
  supervisor: Supervisor,
  { request, signal }: Call<AddProcessRequest>,
): Promise<AddProcessResponse> {
  const { user, capabilities, rlimits } = request;
  const process = await exec(
    supervisor,
    {
      id: request.id,
      pid: request.pid,
      process: {
        terminal: request.terminal,
        user: { uid: user?.uid ?? 0, gid: user?.gid ?? 0, additionalGids: user?.additionalGids ?? [] },
        args: request.args,
        env: request.env,
        cwd: request.cwd,
        // Also when it is empty: without the field the runtime would give it the container's.
        capabilities: capabilitySets(capabilities),
        ...(rlimits.length > 0 ? { rlimits } : {}),
        noNewPrivileges: request.noNewPrivileges,
        // Not as empty ones: crun would look for a profile without a name.
        ...(request.apparmorProfile !== "" ? { apparmorProfile: request.apparmorProfile } : {}),
        ...(request.selinuxLabel !== "" ? { selinuxLabel: request.selinuxLabel } : {}),
      },
      stdio: stdioOf(request),
    },
    signal,
  );
  return { systemPid: process.systemPid };
}

export function signal(supervisor: Supervisor, { request }: Call<SignalRequest>): SignalResponse {
  signalProcess(supervisor, request.id, request.pid, request.signal);
  return {};
}

export function updateProcess(supervisor: Supervisor, { request }: Call<UpdateProcessRequest>): UpdateProcessResponse {
  update(supervisor, request);
  return {};
}
