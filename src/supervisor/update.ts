import { stringifyJson } from "../runtime/json.js";
import { OperationError } from "../runtime/operation-error.js";
import { ociResources, type Resources } from "../runtime/resources.js";
import { withDeadline } from "./deadline.js";
import type { Supervisor } from "./supervisor.js";

export interface UpdateRequest {
  id: string;
  /** "paused" or "running"; wins over resources. "" changes none. */
  status: string;
  resources: Resources | undefined;
}

/**
 * Pauses or resumes a container, or changes its resource limits.
 * @throws OperationError
 */
export async function update(supervisor: Supervisor, request: UpdateRequest, signal: AbortSignal): Promise<void> {
  const container = supervisor.container(request.id);
  const { status } = request;
  if (status !== "" && status !== "paused" && status !== "running") {
    throw new OperationError("invalid-argument", "containerd: unknown container status ");
  }
  await container.turns.exclusive(() =>
    withDeadline(
      [signal, container.exited],
      supervisor.startTimeout,
      "containerd: container did not change before the specified timeout",
      async (limited) => {
        if (status === "paused") {
          await container.runtime.pause(container.id, { signal: limited });
          container.paused = true;
          supervisor.emit({ type: "pause", id: container.id });
        } else if (status === "running") {
          await container.runtime.resume(container.id, { signal: limited });
          container.paused = false;
          supervisor.emit({ type: "resume", id: container.id });
        } else if (request.resources !== undefined) {
          const resources = ociResources(request.resources);
          if (resources === undefined) return;
          await container.runtime.update(container.id, stringifyJson(resources), { signal: limited });
        }
      },
    ),
  );
}
