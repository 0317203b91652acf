import type { TaskName } from "../../../core/tasks/history.js";
import type { NamespacedCall } from "../front.js";

/** The task that a call is about. */
export function nameOf({ namespace, request }: NamespacedCall<{ containerId: string }>): TaskName {
  return { namespace, id: request.containerId };
}
