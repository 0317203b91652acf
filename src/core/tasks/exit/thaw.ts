import type { Task } from "../task.js";

/** In ms: how long the runtime may take. */
const TIMEOUT = 10_000;

/** A frozen process takes no signal, not even SIGKILL. Never rejects. */
export async function thaw(task: Task): Promise<void> {
  try {
    if (!task.cgroup?.frozen()) return;
    await task.runtime.resume(task.id, { signal: AbortSignal.timeout(TIMEOUT) });
  } catch {
    // The runtime's own delete may still manage it.
  }
}
