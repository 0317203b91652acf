import { limitsBack } from "../../../system/cgroup/device-limits.js";
import { errorText } from "../../../system/linux/libc.js";
import { withDeadline } from "../../failure/deadline.js";
import { Failure } from "../../failure/failure.js";
import { stringifyJson } from "../../files/json.js";
import type { Operation } from "../../telemetry/operations.js";
import type { Container } from "../container.js";
import { deviceLimits, kernelLimits, type OciResources } from "../runtime/resources.js";
import type { Supervisor } from "../supervisor.js";

/** In ms: how long execs under way are waited for; one that takes longer is most likely held up by the container itself. */
const EXEC_PATIENCE = 1_000;

export interface UpdateRequest {
  id: string;
  kind: "pause" | "resume" | "update";
  /** Limits that an update changes; undefined: none. */
  resources?: OciResources | undefined;
}

/**
 * Pauses or resumes a container, or changes its resource limits.
 * @throws Failure
 */
export async function update(supervisor: Supervisor, request: UpdateRequest, signal: AbortSignal): Promise<void> {
  const { id, kind } = request;
  await supervisor.operations.run({ kind, id }, (operation) => runUpdate(supervisor, request, signal, operation));
}

async function runUpdate(
  supervisor: Supervisor,
  request: UpdateRequest,
  signal: AbortSignal,
  operation: Operation,
): Promise<void> {
  const container = supervisor.container(request.id);
  const { kind } = request;
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
          if (kind !== "update" && container.cgroup !== undefined) container.paused = undefined;
          if (kind === "pause") {
            await container.runtime.pause(container.id, { signal: limited });
            container.paused = true;
            done("paused");
            supervisor.emit({ type: "pause", id: container.id });
          } else if (kind === "resume") {
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
async function limit(container: Container, asked: OciResources, signal: AbortSignal): Promise<void> {
  const { cgroup } = container;
  const before = cgroup?.deviceLimits();
  await container.runtime.update(container.id, stringifyJson(asked), { signal });
  if (cgroup === undefined || before === undefined) return;
  try {
    cgroup.setDeviceLimits(limitsBack(before, cgroup.deviceLimits()));
    cgroup.setDeviceLimits(deviceLimits(asked));
    cgroup.setKernelLimits(kernelLimits(asked));
  } catch (error) {
    throw new Failure("failed-precondition", "limit-not-set", { why: errorText(error) }, { cause: error });
  }
}
