import { withDeadline } from "../../failure/deadline.js";
import { Failure } from "../../failure/failure.js";
import { logText } from "../../failure/log-text.js";
import type { Operation } from "../../telemetry/operations.js";
import { followExit } from "../exit/exit.js";
import { checkIdentifier } from "../identifier.js";
import { watchExit } from "../monitor.js";
import { INIT, type Process, type Stdio } from "../process.js";
import type { OciProcess } from "../runtime/spec.js";
import type { Supervisor } from "../supervisor.js";

export interface ExecRequest {
  /** The container's. */
  id: string;
  /** The caller's name for the process. */
  pid: string;
  process: OciProcess;
  stdio: Stdio;
}

/**
 * Runs another process in a container.
 * @param signal ends the attempt: nothing is left then
 * @throws Failure; nothing is left then
 */
export function exec(supervisor: Supervisor, request: ExecRequest, signal: AbortSignal): Promise<Process> {
  return supervisor.operations.run({ kind: "exec", id: request.id, pid: request.pid }, (operation) =>
    runExec(supervisor, request, signal, operation),
  );
}

async function runExec(
  supervisor: Supervisor,
  request: ExecRequest,
  signal: AbortSignal,
  operation: Operation,
): Promise<Process> {
  checkIdentifier("container id", request.id);
  checkIdentifier("process id", request.pid);
  const container = supervisor.container(request.id);
  if (request.pid === INIT || container.processes.has(request.pid)) {
    const path = `${container.directory}/${request.pid}`;
    throw new Failure("already-exists", "name-taken", { what: "process", path });
  }
  operation.doing = "waiting for its turn";
  return await container.turns.shared(() =>
    withDeadline(
      [signal, container.exited],
      supervisor.startTimeout,
      () => new Failure("deadline-exceeded", "start-timeout", { timeout: supervisor.startTimeout }),
      async (limited) => {
        const began = performance.now();
        operation.doing = "runtime exec";
        try {
          await supervisor.removals.settled(`${container.directory}/${request.pid}`, limited);
          const process = await container.exec(request.pid, request.process, request.stdio, limited);
          if (container.exited.aborted) {
            // Its container's exit waits for no exec that nobody was told of.
            container.processes.delete(process.id);
            process.kill();
            process.shim!.child.kill();
            process.close();
            throw container.exited.reason;
          }
          process.done = followExit(supervisor, container, process, watchExit(process.exitFd));
          process.shim!.release();
          supervisor.metrics.execProcess.since(began);
          supervisor.log.info(
            {
              id: container.id,
              pid: process.id,
              systemPid: process.systemPid,
              duration: Math.round(performance.now() - began),
            },
            "containerd: process started",
          );
          supervisor.emit({ type: "start-process", id: container.id, pid: process.id, run: process.run });
          supervisor.events.whenStored(() => process.markAnnounced());
          return process;
        } catch (error) {
          supervisor.log.error({ id: container.id, pid: request.pid, error: logText(error) }, "containerd: exec");
          throw error;
        }
      },
    ),
  );
}
