import { requireDescriptors } from "../../../system/linux/reserved-descriptors.js";
import type { Operation } from "../../telemetry/operations.js";
import { release } from "../exit/release.js";
import { INIT } from "../process.js";
import { endShims, shimsGone } from "../shims/left-shims.js";
import type { Task } from "../task.js";
import type { Tasks } from "../tasks.js";
import { keepTrying } from "./keep-trying.js";

/**
 * Removes a container that never ran, of which nothing was told, or whose process can't be identified any more: then its exit is told,
 * after those of its execs. Afterwards its id is free.
 */
export async function endUnfinishedStart(
  tasks: Pick<Tasks, "log" | "removals" | "reports">,
  task: Task,
  operation: Operation,
): Promise<void> {
  operation.doing = "removing what was never started";
  tasks.log.warn({ id: task.id }, "containerd: container was not started; removing it");
  for (const proc of task.processes.values()) proc.close();
  task.processes.clear();
  await keepTrying(tasks.log, { id: task.id }, "containerd: remove container", async () => {
    requireDescriptors();
    // Our own shim cleans up by itself. Another one waits for `<runtime> start`, and ends when the container is deleted.
    const wasThere = !(await shimsGone(task, INIT));
    await task.container.delete();
    if (wasThere && !(await shimsGone(task, INIT))) {
      await endShims(task, INIT);
      await task.container.delete();
    }
    for (const name of tasks.reports.owedExits(task)) {
      tasks.reports.tellLostExit(task, name, (await endShims(task, name)) || wasThere);
    }
  });
  await new Promise<void>((resolve) => {
    tasks.reports.whenStored(task, () => {
      release(tasks, task);
      resolve();
    });
  });
}
