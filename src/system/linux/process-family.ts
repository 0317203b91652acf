import { closeSync } from "node:fs";
import { childrenOf } from "./descendants.js";
import { hasCode } from "./libc.js";
import { openPidFd, signalPidFd } from "./pidfd.js";
import { parentOf, readProcStat, startTimeOf } from "./proc-stat.js";

const SIGKILL = 9;
const SIGSTOP = 19;
/** How often it is looked for more: one that starts others as fast as it can is stopped by the second look. */
const ROUNDS = 20;

/**
 * Kills a process with all that it has started, also what has outlived its parent, as long as that has not left the session. All are
 * stopped first, so that none starts others meanwhile.
 * @param startTime of the process, which may have ended: does nothing when the pid is another's by now
 * @param others pids among which those are looked for whose parents have gone
 * @param strangers pids of what was not started by it: a session that one of them is in is not its own
 * @throws a system error
 */
export async function killFamily(
  pid: number,
  startTime: string,
  others: () => readonly number[],
  strangers: () => readonly number[],
): Promise<void> {
  const held = new Map<number, number>();
  const hold = (candidate: number, isIt: () => boolean): boolean => {
    if (held.has(candidate)) return false;
    try {
      const fd = openPidFd(candidate);
      // The descriptor holds one process.
      if (!isIt()) {
        closeSync(fd);
        return false;
      }
      held.set(candidate, fd);
      signalPidFd(fd, SIGSTOP);
      return true;
    } catch (error) {
      if (hasCode(error, "ESRCH")) return false;
      throw error;
    }
  };
  try {
    // One that has ended may have left others in its session, which holds its pid: no process gets that before they have ended, too.
    const startedAt = startTimeOf(pid);
    if (startedAt !== undefined && !hold(pid, () => startTimeOf(pid) === startTime)) return;
    const session = startedAt === undefined ? pid : readProcStat(pid)?.session;
    // Not every runtime has a process lead its session: crun's has ended by now.
    const isOwn = session !== undefined && !strangers().some((one) => readProcStat(one)?.session === session);
    const isInSession = (one: number) => isOwn && readProcStat(one)?.session === session;
    for (let round = 0; round < ROUNDS; round++) {
      let isMore = false;
      for (const parent of [...held.keys()])
        for (const child of childrenOf(parent)) if (hold(child, () => parentOf(child) === parent)) isMore = true;
      for (const one of others()) if (isInSession(one) && hold(one, () => isInSession(one))) isMore = true;
      if (!isMore) break;
    }
  } finally {
    for (const fd of held.values()) {
      try {
        signalPidFd(fd, SIGKILL);
      } catch {
        // It has ended.
      }
      closeSync(fd);
    }
  }
}
