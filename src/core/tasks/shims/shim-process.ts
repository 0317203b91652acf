import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { allProcesses, commandLineOf, hostProcessesIn, runsOneOf } from "../../../system/linux/host-process.js";
import { killProcess, killProcessGroup } from "../../../system/linux/pidfd.js";
import { isAlive, parentOf, startTimeOf } from "../../../system/linux/proc-stat.js";
import { findProgram } from "../../../system/linux/spawn.js";
import { readStateFile } from "../state-directory/state-file.js";
import { INTERPRETER } from "./shim-spawner.js";

/** Identifies a process also after its pid was reused: its pid, and its start time (field 22 of /proc/<pid>/stat). */
export interface Identity {
  pid: number;
  startTime: string;
}

/** The file that tells which process the shim of a process directory is. */
export const SHIM_RECORD = "shim";

/** Writes down which process the shim is. What can't be written (a full disk) can still be found out. */
export function recordShim(directory: string, { pid, startTime }: Identity): void {
  // It has ended already.
  if (startTime === "") return;
  try {
    writeFileSync(join(directory, SHIM_RECORD), `${pid} ${startTime}\n`, { mode: 0o600 });
  } catch {
    // See above.
  }
}

/**
 * The shims of a process directory that this daemon did not launch, as far as they run: the one that was written down; or, without that
 * (another daemon's, or ours was killed right then), the processes of the host's root that stand there, run a shim's program, and have the
 * arguments of one.
 * @param program of a shim that is not this project's
 */
export function findShims(directory: string, containerId: string, program?: string): Identity[] {
  const recorded = readRecord(directory);
  if (recorded !== undefined) return isAlive(recorded.pid, recorded.startTime) ? [recorded] : [];
  const programs = [INTERPRETER, program ?? ""].map((name) => findProgram(name)).filter((path) => path !== undefined);
  return hostProcessesIn(directory).flatMap((pid) => {
    const startTime = startTimeOf(pid);
    const isShim = runsOneOf(pid, programs) && commandLineOf(pid).at(-3) === containerId;
    return isShim && startTime !== undefined ? [{ pid, startTime }] : [];
  });
}

function readRecord(directory: string): Identity | undefined {
  try {
    const [, pid, startTime] = /^(\d+) (\d+)\n$/.exec(readStateFile(join(directory, SHIM_RECORD))) ?? [];
    return pid === undefined ? undefined : { pid: Number(pid), startTime: startTime! };
  } catch {
    return undefined;
  }
}

/** The processes that a shim is the parent of. Looks at every process: for rare occasions. */
export function childrenOf(shim: Identity): Identity[] {
  const children = allProcesses().flatMap((pid) => {
    const startTime = parentOf(pid) === shim.pid ? startTimeOf(pid) : undefined;
    return startTime === undefined ? [] : [{ pid, startTime }];
  });
  // Looked at last: they were all its own then.
  return isAlive(shim.pid, shim.startTime) ? children : [];
}

/** Kills a shim with its process group and its children: without the shim nothing would see them end. */
export function killShim(shim: Identity): void {
  const children = childrenOf(shim);
  if (isAlive(shim.pid, shim.startTime)) killProcessGroup(shim.pid);
  for (const { pid, startTime } of children) killProcess(pid, startTime);
}
