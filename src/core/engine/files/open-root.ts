import { closeSync, constants, openSync } from "node:fs";
import { O_PATH } from "../../../system/linux/at-calls.js";
import { errorText, hasCode } from "../../../system/linux/libc.js";
import { openPidFd, signalPidFd } from "../../../system/linux/pidfd.js";
import { startTimeOf } from "../../../system/linux/proc-stat.js";
import { detachedOverlay } from "../../../system/mount/detached.js";
import type { Upper } from "../../../system/mount/overlay.js";
import { Failure } from "../../failure/failure.js";

/**
 * The root directory of a process, as that sees it, with all that is mounted there.
 * @param startTime as /proc/PID/stat has it
 * @returns a descriptor, to be closed; it stays what it is when the process ends
 * @throws Failure (failed-precondition) when the process has ended
 */
export function openRootOfProcess(pid: number, startTime: string): number {
  const ended = () => new Failure("failed-precondition", "refused", { why: "the container has stopped just now" });
  let pidfd: number;
  try {
    pidfd = openPidFd(pid);
  } catch (error) {
    if (hasCode(error, "ESRCH")) throw ended();
    throw new Failure("internal", "system", { why: errorText(error) });
  }
  try {
    if (startTimeOf(pid) !== startTime) throw ended();
    const root = openSync(`/proc/${pid}/root`, O_PATH | constants.O_DIRECTORY);
    try {
      // If it lives, the number has meant this very process all the time.
      signalPidFd(pidfd, 0);
      return root;
    } catch {
      closeSync(root);
      throw ended();
    }
  } catch (error) {
    if (hasCode(error, "ENOENT") || hasCode(error, "ESRCH")) throw ended();
    throw error instanceof Failure ? error : new Failure("internal", "system", { why: errorText(error) });
  } finally {
    closeSync(pidfd);
  }
}

/**
 * The root directory of what does not run: its layers, and its own directory over them, mounted where nobody else sees it.
 * @param lower the topmost first
 * @param upper undefined: it can only be read
 * @param place an empty directory of our own that nobody else uses meanwhile
 * @returns a descriptor; with it the mount goes
 * @throws Failure
 */
export function openRootOfLayers(lower: readonly string[], upper: Upper | undefined, place: string): number {
  try {
    return detachedOverlay(lower, { upper, place });
  } catch (error) {
    throw new Failure("internal", "system", { why: errorText(error) }, { cause: error });
  }
}
