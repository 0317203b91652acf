/** What follows the end of the process: its status, the rest of its container, its output. */
import type { Assignment } from "./creation";
import { writeExitStatus } from "./exit-status";
import { logWarning } from "./log";
import type { Child } from "./reaper";
import { type CallResult, call, cleanUpLimit } from "./runtime";
import { closeStdio, drain } from "./stdio";
import * as sys from "./syscalls";

/** How long strangers may keep the output of a container open after it has been killed, in ms. */
const strangersLimit = 10_000;

/**
 * Tells the exit status first; then kills what is left of the container, so that its output ends; passes that on to the
 * end; and has the runtime forget the container, so that its id is free when the exit FIFO hangs up.
 *
 * @param endsAlone the kernel has killed everything else already
 */
export function finish(assignment: Assignment, child: Child, endsAlone: boolean): void {
  const { id, state, stdio } = assignment;
  writeExitStatus(child.status!);
  if (state.exec) {
    // Its container lives on, and so may what the exec has left behind: the exec is over when its output is.
    drain(stdio, undefined);
  } else {
    if (!endsAlone) complain("kill", call(["kill", "--all", id, "SIGKILL"], cleanUpLimit));
    drain(stdio, strangersLimit);
    deleteContainer(id);
  }
  closeStdio(stdio);
}

/** After a checkpoint the runtime has forgotten the container by itself, which the call by force accepts. */
function deleteContainer(id: string): void {
  if (call(["delete", id], cleanUpLimit).status === 0) return;
  complain("delete", call(["delete", "--force", id], cleanUpLimit));
}

function complain(what: string, result: CallResult): void {
  if (result.status !== 0) logWarning(`${what}: exit status ${result.status}: ${result.output}`);
}

/**
 * Whether the end of this process is the end of its pid namespace: then the kernel has killed all the others. It must
 * be the first process of a namespace below ours.
 */
export function endsItsNamespace(pid: number): boolean {
  const status = sys.readFile(`/proc/${pid}/status`);
  if (typeof status === "number") return false;
  const [pids] = string.match(status, "\nNSpid:([^\n]*)");
  if (pids === undefined) return false;
  const [inner] = string.match(pids, "%d+%s+(%d+)%s*$");
  return inner === "1";
}
