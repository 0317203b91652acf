import { limitsBack } from "../../../system/cgroup/device-limits.js";
import { errorText } from "../../../system/linux/libc.js";
import { withDeadline } from "../../failure/deadline.js";
import { Failure } from "../../failure/failure.js";
import { stringifyJson } from "../../files/json.js";
import type { Operation } from "../../telemetry/operations.js";
import type { Container } from "../container.js";
import { deviceLimits, kernelLimits, ociResources, type Resources } from "../runtime/resources.js";
import type { Supervisor } from "../supervisor.js";

/** In ms: how long execs under way are waited for; one that takes longer is most likely held up by the container itself. */
const EXEC_PATIENCE = 1_000;

export interface UpdateRequest {
  id: string;
  /** "paused" or "running"; wins over resources. "" changes none. */
  status: string;
  resources: Resources | undefined;
}

/**
 * Pauses or resumes a container, or changes its resource limits.
 * @throws Failure
 */
export async function update(supervisor: Supervisor, request: UpdateRequest, signal: AbortSignal): Promise<void> {
  const { id, status } = request;
  const kind = status === "paused" ? "pause" : status === "running" ? "resume" : "update";
  await supervisor.operations.run({ kind, id }, (operation) => runUpdate(supervisor, request, signal, operation));
}

async function runUpdate(
  supervisor: Supervisor,
  request: UpdateRequest,
  signal: AbortSignal,
  operation: Operation,
): Promise<void> {
  const container = supervisor.container(request.id);
  const { status } = request;
  if (status !== "" && status !== "paused" && status !== "running") {
    throw new Failure("invalid-argument", "refused", { why: "containerd: unknown container status " });
  }
  operation.doing = "waiting for its turn";
  await container.turns.exclusive(
    () =>
      withDeadline(
        [signal, container.exited],
        supervisor.startTimeout,
        () => new Failure("deadline-exceeded", "update-timeout", { timeout: supervisor.startTimeout }),
        async (limited) => {
          const began = performance.now();
          operation.doing = `runtime ${operation.kind}`;
          const done = (what: string) =>
            supervisor.log.info(
              { id: container.id, duration: Math.round(performance.now() - began) },
              `containerd: container ${what}`,
            );
          // Until its runtime call has ended well, only the cgroup knows.
          if (status !== "" && container.cgroup !== undefined) container.paused = undefined;
          if (status === "paused") {
            await container.runtime.pause(container.id, { signal: limited });
            container.paused = true;
            done("paused");
            supervisor.emit({ type: "pause", id: container.id });
          } else if (status === "running") {
            await container.runtime.resume(container.id, { signal: limited });
            container.paused = false;
            done("resumed");
            supervisor.emit({ type: "resume", id: container.id });
          } else if (request.resources !== undefined) {
            await limit(container, request.resources, limited);
            done("updated");
          }
        },
      ),
    EXEC_PATIENCE,
  );
}

/**
 * Changes limits through the runtime, and in the cgroup what the runtime passes over: runc 1.x takes neither device lists nor limits of
 * kernel memory from an update. It even sets the devices' limits back to those of the container's start, whatever else it is asked to change.
 */
async function limit(container: Container, asked: Resources, signal: AbortSignal): Promise<void> {
  const resources = ociResources(asked);
  if (resources === undefined) return;
  const { cgroup } = container;
  const before = cgroup?.deviceLimits();
  await container.runtime.update(container.id, stringifyJson(resources), { signal });
  if (cgroup === undefined || before === undefined) return;
  try {
    cgroup.setDeviceLimits(limitsBack(before, cgroup.deviceLimits()));
    cgroup.setDeviceLimits(deviceLimits(asked));
    cgroup.setKernelLimits(kernelLimits(asked));
  } catch (error) {
    throw new Failure("failed-precondition", "limit-not-set", { why: errorText(error) }, { cause: error });
  }
}
