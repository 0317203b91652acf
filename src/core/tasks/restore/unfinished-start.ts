import { errorText } from "../../../system/linux/libc.js";
import type { Operation } from "../../telemetry/operations.js";
import type { Container } from "../container.js";
import { endShims, owedExits, shimsGone, tellEnd } from "../exit/lost-process.js";
import { release } from "../exit/release.js";
import { INIT } from "../process.js";
import type { Supervisor } from "../supervisor.js";

/**
 * Ends what there is of a container that never ran, so that nobody was ever told of it, or that nobody can follow any more: then its exit is told, after
 * those of its execs. Afterwards its id is free.
 */
export async function endUnfinishedStart(
  supervisor: Supervisor,
  container: Container,
  operation: Operation,
): Promise<void> {
  operation.doing = "removing what was never started";
  supervisor.log.warn({ id: container.id }, "containerd: container was not started; removing it");
  try {
    for (const process of container.processes.values()) process.close();
    container.processes.clear();
    // Our own shim cleans up; one that waits for a `start` that never comes ends once its container is deleted.
    const wasThere = !(await shimsGone(container, INIT));
    await container.deleteFromRuntime();
    if (wasThere && !(await shimsGone(container, INIT))) {
      await endShims(container, INIT);
      await container.deleteFromRuntime();
    }
    for (const name of owedExits(supervisor, container)) {
      tellEnd(supervisor, container, name, (await endShims(container, name)) || wasThere);
    }
    supervisor.events.whenStored(() => release(supervisor, container));
  } catch (error) {
    supervisor.log.error({ id: container.id, error: errorText(error) }, "containerd: remove container");
  }
}
