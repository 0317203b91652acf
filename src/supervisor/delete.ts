import { errorText } from "../linux/libc.js";
import type { Container } from "../runtime/container.js";
import type { Supervisor } from "./supervisor.js";

/** Forgets a container that is gone from the runtime: its id is free again. */
export function deleteContainer(supervisor: Supervisor, container: Container): void {
  for (const process of container.processes.values()) process.close();
  container.processes.clear();
  try {
    container.removeDirectory();
  } catch (error) {
    supervisor.log.error({ id: container.id, error: errorText(error) }, "containerd: remove container directory");
  }
  supervisor.containers.delete(container.id);
}
