import { closeSync, statSync } from "node:fs";
import { join } from "node:path";
import { EPOLLIN, type Epoll } from "../linux/epoll.js";
import { errorText } from "../linux/libc.js";
import { openPidFd } from "../linux/pidfd.js";
import { processAge } from "../linux/process-age.js";
import type { Container } from "../runtime/container.js";
import { INIT, type Process } from "../runtime/process.js";
import { deleteContainer } from "./delete.js";
import type { Operation } from "./operations.js";
import type { Supervisor } from "./supervisor.js";

/** What is reported when nobody can tell how a process ended. */
const UNKNOWN_STATUS = 255;
const KILLED_STATUS = 128 + 9;
/** In ms: how long an init's exit waits for its execs' shims before those are killed. */
const EXEC_EXIT_TIMEOUT = 10_000;
/** In ms: how long the runtime may take to thaw a container. */
const RESUME_TIMEOUT = 10_000;

/**
 * Waits for the end of a process's shim, then reports the exit and forgets the process; with its init, the container.
 * Never rejects.
 */
export async function followExit(
  supervisor: Supervisor,
  container: Container,
  process: Process,
  exited: Promise<void>,
): Promise<void> {
  await exited;
  const began = performance.now();
  try {
    await supervisor.operations.run({ kind: "exit", id: container.id, pid: process.id }, async (operation) => {
      let status = process.exitStatus();
      if (status === undefined) {
        operation.doing = "ending the process of a dead shim";
        status = await outliveShim(supervisor, container, process);
      } else if (process.id === INIT && !(await cleanedUp(process))) {
        operation.doing = "cleaning up for a dead shim";
        await container.deleteRestFromRuntime();
      }
      if (process.id === INIT) await exitContainer(supervisor, container, process, status, operation);
      else exitExec(supervisor, container, process, status);
    });
    supervisor.metrics.exitProcess.since(began);
  } catch (error) {
    supervisor.log.error({ id: container.id, pid: process.id, error: errorText(error) }, "containerd: process exit");
  }
}

/** Whether the shim has come to its end, where the runtime has forgotten the container. Nobody can tell that of one that is not our child. */
async function cleanedUp(process: Process): Promise<boolean> {
  return (await process.shim?.child.exited) === 0;
}

/** The shim has died before its process did: nobody would ever see that process's end, so it is ended here. */
async function outliveShim(supervisor: Supervisor, container: Container, process: Process): Promise<number> {
  supervisor.log.warn({ id: container.id, pid: process.id }, "containerd: shim died; killing its process");
  const alive = process.alive();
  if (alive) {
    await thaw(container);
    const ended = processEnd(supervisor.epoll, process.systemPid);
    if (process.id === INIT) container.killed = true;
    process.kill();
    await ended;
  }
  // An exec may be gone already because its init was killed here.
  const status = alive || container.killed ? KILLED_STATUS : UNKNOWN_STATUS;
  try {
    process.recordExitStatus(status);
  } catch (error) {
    supervisor.log.error(
      { id: container.id, pid: process.id, error: errorText(error) },
      "containerd: record exit status",
    );
  }
  if (process.id === INIT) {
    await container.deleteFromRuntime();
  }
  return status;
}

/** A frozen process takes no signal, not even SIGKILL. */
export async function thaw(container: Container): Promise<void> {
  if (!container.cgroup?.frozen()) return;
  try {
    await container.runtime.resume(container.id, { signal: AbortSignal.timeout(RESUME_TIMEOUT) });
  } catch {
    // The runtime's own delete may still manage it.
  }
}

/** Resolves when a process has ended, whoever reaps it. */
async function processEnd(epoll: Epoll, pid: number): Promise<void> {
  let fd: number;
  try {
    fd = openPidFd(pid);
  } catch {
    return;
  }
  await new Promise<void>((resolve) => epoll.add(fd, EPOLLIN, () => resolve()));
  epoll.remove(fd);
  closeSync(fd);
}

function exitExec(supervisor: Supervisor, container: Container, process: Process, status: number): void {
  supervisor.log.info(exitFields(container, process, status), "containerd: process exited");
  const event = reportedBefore(supervisor, container, process)
    ? undefined
    : supervisor.record({ type: "exit", id: container.id, pid: process.id, status });
  container.removeProcess(process);
  if (event !== undefined) supervisor.subscribers.publish(event);
}

async function exitContainer(
  supervisor: Supervisor,
  container: Container,
  process: Process,
  status: number,
  operation: Operation,
): Promise<void> {
  container.markExited();
  operation.doing = "waiting for operations on the container";
  await container.turns.idle();
  operation.doing = "waiting for the exits of its execs";
  await execExits(supervisor, container);
  operation.doing = "removing the container";
  const began = performance.now();
  supervisor.log.info(exitFields(container, process, status), "containerd: container exited");
  const event = reportedBefore(supervisor, container, process)
    ? undefined
    : supervisor.record({ type: "exit", id: container.id, pid: INIT, status });
  deleteContainer(supervisor, container);
  supervisor.metrics.containerDelete.since(began);
  if (event !== undefined) supervisor.subscribers.publish(event);
}

/** `duration`: how long the process has run, in ms; one of ours without a start time was gone before it could be looked at. */
function exitFields({ id }: Container, { id: pid, systemPid, startTime, shim }: Process, status: number) {
  const duration = processAge(startTime) ?? (shim === undefined ? undefined : 0);
  return { id, pid, systemPid, status, duration };
}

/** Waits until all execs have been reported: their exits come before the container's. */
async function execExits(supervisor: Supervisor, container: Container): Promise<void> {
  const execs = [...container.processes.values()].filter((process) => process.id !== INIT);
  if (execs.length === 0) return;
  const timer = setTimeout(() => {
    for (const exec of container.processes.values()) {
      if (exec.id === INIT) continue;
      supervisor.log.warn(
        { id: container.id, pid: exec.id },
        "containerd: exec's shim outlives its container; killing it",
      );
      exec.shim?.child.kill();
    }
  }, EXEC_EXIT_TIMEOUT);
  await Promise.all(execs.map((exec) => exec.done));
  clearTimeout(timer);
}

/**
 * True when this exit is in the event log already: an earlier daemon was killed between writing it there and removing the directory. The
 * exitStatus file tells this exit from an earlier one of the same id.
 */
function reportedBefore(supervisor: Supervisor, container: Container, process: Process): boolean {
  const isOurOwn = process.shim !== undefined;
  if (isOurOwn) return false;
  const written = statSync(join(process.directory, "exitStatus"), { bigint: true, throwIfNoEntry: false });
  return written !== undefined && supervisor.events.hasExit(container.id, process.id, written.mtimeNs);
}
