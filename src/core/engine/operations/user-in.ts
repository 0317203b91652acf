import { closeSync, openSync } from "node:fs";
import { startTimeOf } from "../../../system/linux/proc-stat.js";
import { taskNotFound } from "../../failure/failure.js";
import type { Task } from "../../tasks/task.js";
import { type ResolvedUser, resolveUser } from "../spec/user.js";

/** Who a user is in a container that runs. @throws Failure (invalid-argument) for one that is not there; the signal's reason */
export async function userIn(task: Task, user: string, signal: AbortSignal): Promise<ResolvedUser> {
  const { systemPid: pid, startTime } = task.init!;
  const root = openSync(`/proc/${pid}/root`, "r");
  try {
    // The descriptor is of its root, if the pid was still its own.
    if (startTimeOf(pid) !== startTime) throw taskNotFound(task.id);
    return await resolveUser(root, user, [], { where: `container ${task.id}`, signal });
  } finally {
    closeSync(root);
  }
}
