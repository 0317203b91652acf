import { statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { KILLED_STATUS, UNKNOWN_STATUS } from "../../../contract/shim/exit-status.js";
import { EXIT_STATUS_FILE } from "../../../contract/shim/process-directory.js";
import { errorText } from "../../../system/linux/libc.js";
import { processAge } from "../../../system/linux/process-age.js";
import type { Operation } from "../../telemetry/operations.js";
import type { Container } from "../container.js";
import { processEnd } from "../monitor.js";
import { INIT, type Process } from "../process.js";
import { findShims, killShim } from "../shims/shim-process.js";
import { readUsage } from "../state-directory/usage.js";
import type { Supervisor } from "../supervisor.js";
import { deleteContainer, deleteExec } from "./delete.js";

/** In ms: how long an init's exit waits for its execs' shims before those are killed. */
const EXEC_EXIT_TIMEOUT = 10_000;
/** In ms: how long the runtime may take to thaw a container. */
const RESUME_TIMEOUT = 10_000;
/** In ms: how long the spawner may take to tell how a shim has ended whose end is known. Without an answer the runtime is asked. */
const SHIM_END_PATIENCE = 500;
/** In ms: how often a process is looked at whose end can't be waited for. */
const END_INTERVAL = 20;

/**
 * Waits for the end of a process's shim, or until its {@link Process.giveUp} is called, then reports the exit and forgets the process; with its init,
 * the container. Never rejects: whatever fails on the way, the exit is told, once.
 */
export async function followExit(
  supervisor: Supervisor,
  container: Container,
  process: Process,
  exited: Promise<void>,
): Promise<void> {
  try {
    await Promise.race([exited, process.givenUp]);
  } catch (error) {
    logFailure(supervisor, container, process, error, "containerd: watch for exit");
  }
  const began = performance.now();
  await supervisor.operations.run({ kind: "exit", id: container.id, pid: process.id }, async (operation) => {
    const status = await endedWith(supervisor, container, process, operation);
    if (process.id === INIT) {
      await exitContainer(supervisor, container, process, status, operation);
    } else {
      tell(supervisor, container, process, status, "containerd: process exited");
      deleteExec(supervisor, container, process);
    }
  });
  supervisor.metrics.exitProcess.since(began);
}

/** The status to be told of a process whose shim has ended. Nothing runs of it any more, and the runtime has forgotten a container. Never rejects. */
async function endedWith(
  supervisor: Supervisor,
  container: Container,
  process: Process,
  operation: Operation,
): Promise<number> {
  let status = recordedStatus(supervisor, container, process);
  try {
    if (status === undefined) {
      operation.doing = "ending the process of a dead shim";
      status = await outliveShim(supervisor, container, process);
    } else if (process.id === INIT && !(await cleanedUp(process))) {
      operation.doing = "cleaning up for a dead shim";
      await container.deleteRestFromRuntime();
    }
  } catch (error) {
    logFailure(supervisor, container, process, error, "containerd: process exit");
  }
  return status ?? UNKNOWN_STATUS;
}

/** Undefined when the shim has recorded none: it did not live to, or what is there can't be read, or it could neither record nor tell it. */
function recordedStatus(supervisor: Supervisor, container: Container, process: Process): number | undefined {
  let isReadable = true;
  const status = process.exitStatus((error) => {
    isReadable = false;
    supervisor.log.warn(
      { id: container.id, pid: process.id, error: errorText(error) },
      "containerd: the exit status can't be read",
    );
  });
  return status ?? (isReadable ? process.toldExitStatus() : undefined);
}

function logFailure({ log }: Supervisor, { id }: Container, { id: pid }: Process, error: unknown, what: string): void {
  log.error({ id, pid, error: errorText(error) }, what);
}

/**
 * Whether the shim has come to its end, where the runtime has forgotten the container. Nobody can tell that of one that is not our child, nor when
 * the spawner, whose child it is, does not say so.
 */
async function cleanedUp(process: Process): Promise<boolean> {
  const { shim } = process;
  if (shim === undefined) return false;
  const timer = new AbortController();
  const late = delay(SHIM_END_PATIENCE, undefined, { signal: timer.signal }).catch(() => undefined);
  const status = await Promise.race([shim.child.exited, late]);
  timer.abort();
  return status === 0;
}

/** The shim has died before its process did: nobody would ever see that process's end, so it is ended here. */
async function outliveShim(supervisor: Supervisor, container: Container, process: Process): Promise<number> {
  supervisor.log.warn({ id: container.id, pid: process.id }, "containerd: shim died; killing its process");
  const alive = process.alive();
  if (alive) {
    await thaw(container);
    const ended = processEnd(process.systemPid, process.startTime);
    if (process.id === INIT) container.killed = true;
    ended.catch(() => {});
    process.kill();
    // Without a descriptor for it, it has to be looked at.
    await ended.catch(async () => {
      while (process.alive()) await delay(END_INTERVAL);
    });
  }
  // An exec may be gone already because its init was killed here.
  const status = alive || container.killed ? KILLED_STATUS : UNKNOWN_STATUS;
  try {
    process.recordExitStatus(status);
  } catch (error) {
    logFailure(supervisor, container, process, error, "containerd: record exit status");
  }
  if (process.id === INIT) {
    await container.deleteFromRuntime();
  }
  return status;
}

/** A frozen process takes no signal, not even SIGKILL. */
export async function thaw(container: Container): Promise<void> {
  try {
    if (!container.cgroup?.frozen()) return;
    await container.runtime.resume(container.id, { signal: AbortSignal.timeout(RESUME_TIMEOUT) });
  } catch {
    // The runtime's own delete may still manage it.
  }
}

/** Tells an exit that no daemon has told before. */
function tell(supervisor: Supervisor, container: Container, process: Process, status: number, message: string): void {
  supervisor.log.info(exitFields(container, process, status), message);
  if (reportedBefore(supervisor, container, process)) return;
  const { id: pid, run } = process;
  supervisor.emit({ type: "exit", id: container.id, pid, status, run, ...memoryPeakOf(process) });
}

async function exitContainer(
  supervisor: Supervisor,
  container: Container,
  process: Process,
  status: number,
  operation: Operation,
): Promise<void> {
  container.markExited();
  operation.doing = "ending what is left in its cgroup";
  if (!(await container.endProcesses())) {
    supervisor.log.warn({ id: container.id }, "containerd: processes of the container do not end");
  }
  operation.doing = "waiting for the exits of its execs";
  await execExits(supervisor, container);
  operation.doing = "removing the container";
  const began = performance.now();
  tell(supervisor, container, process, status, "containerd: container exited");
  deleteContainer(supervisor, container);
  supervisor.metrics.containerDelete.since(began);
}

/** Of an init, where its shim has counted it. */
function memoryPeakOf({ directory }: Process): { memoryPeak?: bigint } {
  const { memoryPeak } = readUsage(directory);
  return memoryPeak === undefined ? {} : { memoryPeak };
}

/** `duration`: how long the process has run, in ms; one of ours without a start time was gone before it could be looked at. */
function exitFields({ id }: Container, { id: pid, systemPid, startTime, shim }: Process, status: number) {
  const duration = processAge(startTime) ?? (shim === undefined ? undefined : 0);
  return { id, pid, systemPid, status, duration };
}

/** Waits until all execs have been reported: their exits come before the container's. */
async function execExits(supervisor: Supervisor, container: Container): Promise<void> {
  const execs = () => [...container.processes.values()].filter((process) => process.id !== INIT);
  if (execs().length === 0) return;
  const timer = setTimeout(() => {
    for (const exec of execs()) {
      supervisor.log.warn(
        { id: container.id, pid: exec.id },
        "containerd: exec's shim outlives its container; killing it",
      );
      endShim(container, exec);
      exec.giveUp();
    }
  }, EXEC_EXIT_TIMEOUT);
  // One that was being made may come to the others.
  while (execs().length > 0) await Promise.all(execs().map((exec) => exec.done));
  clearTimeout(timer);
}

/** Also the shim that an earlier daemon has launched. */
function endShim(container: Container, process: Process): void {
  if (process.shim !== undefined) process.shim.child.kill();
  else for (const shim of findShims(process.directory, container.id, container.shim.name)) killShim(shim);
}

/**
 * True when this exit has been told already: an earlier daemon was killed between writing it down and removing the directory, or could not
 * remove it.
 */
function reportedBefore(supervisor: Supervisor, container: Container, process: Process): boolean {
  const isOurOwn = process.shim !== undefined;
  if (isOurOwn) return false;
  if (process.reported) return true;
  return supervisor.events.hasExit(
    container.id,
    process.id,
    process.run,
    writtenAt(join(process.directory, EXIT_STATUS_FILE)),
  );
}

/** In ns since the epoch; undefined when there is no such file, or it can't be reached. */
function writtenAt(path: string): bigint | undefined {
  try {
    return statSync(path, { bigint: true }).mtimeNs;
  } catch {
    return undefined;
  }
}
