import { join } from "node:path";
import { EXIT_FIFO } from "../../../contract/shim/process-directory.js";
import { isAlive } from "../../../system/linux/proc-stat.js";
import { processEnd, watchExit } from "../monitor.js";
import { hasMark, Process, runOf } from "../process.js";
import { childrenOf, findShims, type Identity } from "../shims/shim-process.js";
import { readPidFile } from "../state-directory/pid-file.js";
import type { Task } from "../task.js";
import type { Tasks } from "../tasks.js";

/** Which process of the host it is. */
export interface FoundIdentity extends Identity {
  /** In both of its files; else in one, or in none. */
  isWritten?: boolean;
}

/** As it was written down, or, when a part of that is lost, the one that its shim is the parent of. */
export function findIdentity(task: Task, name: string): FoundIdentity | undefined {
  const directory = join(task.directory, name);
  const pid = readPidFile(directory);
  const startTime = Process.readStartTime(directory);
  if (pid !== undefined && startTime !== "") return { pid, startTime, isWritten: true };
  if (pid === undefined && startTime === "") return undefined;
  const children = findShims(directory, task.id, task.shim.name).flatMap(childrenOf);
  const child = children.find((candidate) => candidate.pid === pid || candidate.startTime === startTime);
  return child ?? (pid === undefined ? undefined : { pid, startTime: "" });
}

export function loadProcess(task: Task, name: string, identity: FoundIdentity): Process {
  return Process.load(join(task.directory, name), name, identity, identity.isWritten);
}

/**
 * Whether an exec failed, or was called off, before its start was told: it does not run, has no shim and has left no exit status. Then
 * nothing is told of it.
 */
export function wasUndone({ reports }: Pick<Tasks, "reports">, task: Task, name: string, identity: Identity): boolean {
  const directory = join(task.directory, name);
  const { pid, startTime } = identity;
  if (hasMark(directory, "started") || (startTime !== "" && isAlive(pid, startTime))) return false;
  if (findShims(directory, task.id, task.shim.name).length > 0) return false;
  // Read after the look for a shim: a shim writes the status before it exits.
  if (Process.readExitStatus(directory) !== undefined) return false;
  return !reports.wasStartTold(task, name, runOf(identity));
}

export function follow({ exits }: Pick<Tasks, "exits">, task: Task, proc: Process): void {
  const hungUp = watchExit(proc.exitFd, join(proc.directory, EXIT_FIFO));
  proc.done = exits.follow(
    task,
    proc,
    hungUp.then(() => shimEnd(task, proc)),
  );
}

/** Waits for the shims that are still there: if the exit FIFO was damaged and made anew, its hang-up says nothing of them. */
async function shimEnd(task: Task, proc: Process): Promise<void> {
  if (proc.exitStatus() !== undefined) return;
  const shims = findShims(proc.directory, task.id, task.shim.name);
  await Promise.all(shims.map(({ pid, startTime }) => processEnd(pid, startTime)));
}
