import { closeSync } from "node:fs";
import type { Task } from "../../tasks/task.js";
import { openRootOfProcess } from "../files/open-root.js";
import { type ResolvedUser, resolveUser } from "../spec/user.js";

/**
 * Who a user is in a container that runs.
 * @throws Failure: invalid-argument for one that is not there, failed-precondition when it has just stopped; the signal's reason
 */
export async function userIn(task: Task, user: string, signal: AbortSignal): Promise<ResolvedUser> {
  const { systemPid: pid, startTime } = task.init!;
  const root = openRootOfProcess(pid, startTime);
  try {
    return await resolveUser(root, user, [], { where: `container ${task.id}`, signal });
  } finally {
    closeSync(root);
  }
}
