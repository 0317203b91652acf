import { limitsBack } from "../../../system/cgroup/device-limits.js";
import { bootTime } from "../../../system/linux/clock.js";
import { errorText } from "../../../system/linux/libc.js";
import { Failure } from "../../failure/failure.js";
import { withTimeout } from "../../failure/timeout.js";
import { stringifyJson } from "../../files/json.js";
import type { Operation } from "../../telemetry/operations.js";
import { pause, resume } from "../freezer.js";
import type { TaskName } from "../history.js";
import { deviceLimits, kernelLimits, type OciResources } from "../runtime/resources.js";
import type { Task } from "../task.js";
import type { Tasks } from "../tasks.js";

/** In ms: how long execs under way are waited for; one that takes longer is most likely held up by the container itself. */
const EXEC_TIMEOUT = 1_000;

export interface UpdateRequest extends TaskName {
  kind: "pause" | "resume" | "update";
  /** Limits that an update changes; undefined: none. */
  resources?: OciResources | undefined;
}

/**
 * Pauses or resumes a task, or changes its resource limits.
 * @throws Failure
 */
export async function update(tasks: Tasks, request: UpdateRequest, signal: AbortSignal): Promise<void> {
  const { id, kind } = request;
  await tasks.operations.run({ kind, id }, (operation) => runUpdate(tasks, request, signal, operation));
}

async function runUpdate(
  tasks: Tasks,
  request: UpdateRequest,
  signal: AbortSignal,
  operation: Operation,
): Promise<void> {
  const task = tasks.get(request);
  const { kind } = request;
  if (kind === "update") task.requireLife();
  else task.requireRunning();
  operation.doing = "waiting for its turn";
  await task.turns.exclusive(
    () =>
      withTimeout([signal, task.exited], tasks.startTimeout, "update-timeout", async (limited) => {
        const began = performance.now();
        operation.doing = `runtime ${operation.kind}`;
        const done = (what: string) =>
          tasks.log.info(
            { id: task.id, duration: Math.round(performance.now() - began) },
            `containerd: container ${what}`,
          );
        if (kind === "pause") {
          await pause(task, limited);
          task.paused = true;
          done("paused");
          tasks.reports.tell(task, "/tasks/paused");
        } else if (kind === "resume") {
          await resume(task, limited);
          task.paused = false;
          task.resumedAt = bootTime();
          done("resumed");
          tasks.reports.tell(task, "/tasks/resumed");
        } else if (request.resources !== undefined) {
          await limit(task, request.resources, limited);
          done("updated");
        }
      }),
    EXEC_TIMEOUT,
  );
}

/**
 * Changes limits through the runtime, and in the cgroup what the runtime passes over: runc 1.x takes neither device lists nor limits of
 * kernel memory from an update. It even sets the devices' limits back to those of the container's start, whatever else it is asked to
 * change.
 */
async function limit(task: Task, asked: OciResources, signal: AbortSignal): Promise<void> {
  const { cgroup } = task;
  const before = cgroup?.deviceLimits();
  await task.runtime.update(task.id, stringifyJson(asked), { signal });
  if (cgroup === undefined || before === undefined) return;
  try {
    cgroup.setDeviceLimits(limitsBack(before, cgroup.deviceLimits()));
    cgroup.setDeviceLimits(deviceLimits(asked));
    cgroup.setKernelLimits(kernelLimits(asked));
  } catch (error) {
    throw new Failure("failed-precondition", "limit-not-set", { why: errorText(error) }, { cause: error });
  }
}
