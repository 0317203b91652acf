/** What follows the end of the process: its status, the rest of its container, its output. */
import type { Assignment } from "./creation";
import { writeExitStatus } from "./exit-status";
import { forget } from "./forget";
import { logWarning } from "./log";
import { type Child, killChildren } from "./reaper";
import { type CallResult, CLEAN_UP_TIMEOUT, call } from "./runtime";
import { closeStdio, drain } from "./stdio";
import * as files from "./syscalls/files";
import { readCgroup, recordUsage } from "./usage";

/** How long processes outside the container may keep the output of a container open after it has been killed, in ms. */
const OTHER_WRITERS_TIMEOUT = 10_000;

/**
 * Tells the exit status first; then kills what is left of the container, so that its output ends; passes that on to the
 * end; and has the runtime forget the container, so that its id is free when the exit FIFO hangs up.
 *
 * @param endsAlone the kernel has killed everything else already
 * @returns whether nothing is left for the daemon to do
 */
export function finish(assignment: Assignment, child: Child, endsAlone: boolean): boolean {
  const { id, state, stdio } = assignment;
  writeExitStatus(child.status!);
  let isDeleted = true;
  if (state.exec) {
    // Its container lives on, and so may what the exec has left behind: the exec is over when its output is.
    drain(stdio, undefined);
  } else {
    // Without the runtime: no further than to what has come to us. The daemon knows the cgroup.
    if (!endsAlone && !succeeds("kill", call(["kill", "--all", id, "SIGKILL"], CLEAN_UP_TIMEOUT))) killChildren();
    drain(stdio, OTHER_WRITERS_TIMEOUT);
    const cgroup = readCgroup();
    recordUsage(cgroup);
    isDeleted = (endsAlone && forget(state.runtimeDirectory, cgroup)) || deleteContainer(id);
  }
  closeStdio(stdio);
  return isDeleted;
}

/** After a checkpoint the runtime has forgotten the container by itself, which the call by force accepts. */
function deleteContainer(id: string): boolean {
  if (call(["delete", id], CLEAN_UP_TIMEOUT).status === 0) return true;
  return succeeds("delete", call(["delete", "--force", id], CLEAN_UP_TIMEOUT));
}

/** Logs it when a call has failed. */
function succeeds(what: string, result: CallResult): boolean {
  if (result.status !== 0) logWarning(`${what}: exit status ${result.status}: ${result.output}`);
  return result.status === 0;
}

/**
 * Whether the end of this process is the end of its pid namespace: then the kernel has killed all the others. It must
 * be the first process of a namespace below ours.
 */
export function endsItsNamespace(pid: number): boolean {
  const status = files.readFile(`/proc/${pid}/status`);
  if (typeof status === "number") return false;
  const [pids] = string.match(status, "\nNSpid:([^\n]*)");
  if (pids === undefined) return false;
  const [inner] = string.match(pids, "%d+%s+(%d+)%s*$");
  return inner === "1";
}
