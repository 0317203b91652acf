import { dirname } from "node:path";
import type * as wire from "../../../proto/containerd.js";
import type { CallOptions } from "../../api/call-options.js";
import { whileLost } from "../../api/lost-daemon.js";
import { ContainerdError } from "../../errors/containerd-error.js";
import { type Attempt, explainFailure } from "../../errors/failure-causes.js";
import { pause } from "../../options/duration.js";
import { oneOf } from "../../options/option-checks.js";
import { detachedStdin, Stdio } from "../../streams/stdio.js";
import type { ContainerParts } from "./container.js";
import { ContainerProcess } from "./container-process.js";

/**
 * "pipe": streams to read and write. "output": streams to read, no input. "ignore": no input, output is dropped.
 * "detached": an input that never ends, output is dropped.
 */
export type StdioKind = "pipe" | "output" | "ignore" | "detached";

export const stdioKind = oneOf("pipe", "output", "ignore", "detached");

export interface StartRequest extends CallOptions {
  containerId: string;
  name: string;
  terminal: boolean;
  stdio: StdioKind;
  stdioDir: string | undefined;
  /** How the names of the folders of its FIFOs begin. */
  folderPrefix?: string | undefined;
  /** Tells a container that this start has made from another one with the same id; where its streams do not tell already. */
  bundle?: string | undefined;
  /** What a failure is explained with. */
  about?: Pick<Attempt, "bundle" | "rootfs" | "network">;
  /** Asks the daemon; resolves with the system pid. */
  start(paths: Stdio["paths"]): Promise<number>;
}

const NO_PATHS = { stdin: "", stdout: "", stderr: "" };

/** Milliseconds to end a process whose start failed for the caller, and may have succeeded in the daemon. */
const RETRACTION_TIMEOUT = 5000;

/**
 * Milliseconds before each look for that process. HTTP/2 may deliver a cancellation after calls that were made later: until the daemon has
 * it, the start can still succeed.
 */
const RETRACTION_PAUSES = [0, 20, 100];

/** Starts a process with its streams, watched from before it runs. A start that fails leaves nothing. */
export async function startProcess(parts: ContainerParts, request: StartRequest): Promise<ContainerProcess> {
  const { containerId, name, terminal, stdio: kind } = request;
  if (kind !== "pipe" && kind !== "output") {
    const stdin = kind === "detached" ? detachedStdin(request.stdioDir, request.folderPrefix) : undefined;
    try {
      const since = await parts.api.lastEventTime({ signal: request.signal, timeout: request.timeout });
      const systemPid = await start(parts, request, { ...NO_PATHS, stdin: stdin?.path ?? "" });
      return new ContainerProcess({ ...parts, containerId, name, systemPid, since });
    } finally {
      stdin?.remove();
    }
  }
  const closeStdin = () => closeStdinOf(parts, containerId, name);
  const stdio = new Stdio(
    { dir: request.stdioDir, terminal, input: kind === "pipe", closeStdin },
    request.folderPrefix,
  );
  let drop: (() => void) | undefined;
  try {
    const expected = await parts.exits.expectStart(containerId, name, request.signal);
    drop = expected.drop;
    const systemPid = await start(parts, request, stdio.paths);
    expected.started(systemPid);
    return new ContainerProcess({
      ...parts,
      containerId,
      name,
      systemPid,
      attached: { stdio, exited: expected.exited },
    });
  } catch (error) {
    drop?.();
    stdio.close();
    throw error;
  }
}

/** Ends the process of a start that was not answered: it may have succeeded all the same. */
async function start(parts: ContainerParts, request: StartRequest, paths: Stdio["paths"]): Promise<number> {
  try {
    return await request.start(paths);
  } catch (error) {
    const unanswered =
      request.signal?.aborted ||
      (error instanceof ContainerdError && (error.code === "DEADLINE_EXCEEDED" || error.code === "UNAVAILABLE"));
    // That it cannot be retracted is not what went wrong first.
    if (unanswered) await retract(parts, request, paths).catch(() => {});
    const { containerId, name, about } = request;
    const stdioDir = dirname(paths.stdout || paths.stdin || "");
    throw explainFailure(error, { ...about, containerId, name, ...(stdioDir !== "." && { stdioDir }) });
  }
}

async function retract(parts: ContainerParts, request: StartRequest, paths: Stdio["paths"]): Promise<void> {
  const { containerId: id, name, bundle } = request;
  const deadline = Date.now() + RETRACTION_TIMEOUT;
  const options = () => ({ timeout: Math.max(1, deadline - Date.now()) });
  const patience = Math.min(parts.patience ?? RETRACTION_TIMEOUT, RETRACTION_TIMEOUT);
  const ours = (task: wire.Container, process: wire.Process) =>
    (paths.stdin !== "" && process.stdin === paths.stdin) ||
    (paths.stdout !== "" && process.stdout === paths.stdout) ||
    (bundle !== undefined && task.bundlePath === bundle);
  const isThere = async () => {
    const { containers } = await whileLost(() => findContainers(parts, id, options()), patience);
    return containers.some(
      (task) => task.id === id && task.processes.some((process) => process.pid === name && ours(task, process)),
    );
  };
  let found = false;
  for (const ms of RETRACTION_PAUSES) {
    await pause(ms);
    found = await isThere();
    if (found) break;
  }
  if (!found) return;
  const since = await whileLost(() => parts.api.lastEventTime(options()), patience);
  const exit = AbortSignal.timeout(RETRACTION_TIMEOUT);
  const exited = parts.exits.waitFor({ id, pid: name, since }, exit);
  exited.catch(() => {});
  await whileLost(() => parts.api.signal({ id, pid: name, signal: 9 }, options()), patience);
  await exited;
}

/** None when there is none. */
async function findContainers({ api }: ContainerParts, id: string, options: CallOptions): Promise<wire.StateResponse> {
  try {
    return await api.state({ id }, options);
  } catch (error) {
    if (error instanceof ContainerdError && error.isNotFound) return { containers: [], machine: undefined };
    throw error;
  }
}

async function closeStdinOf({ api, patience }: ContainerParts, id: string, pid: string): Promise<void> {
  try {
    await whileLost(() => api.updateProcess({ id, pid, closeStdin: true }), patience);
  } catch (error) {
    // A process that has ended needs no end of its input.
    if (!(error instanceof ContainerdError && error.isNotFound)) throw error;
  }
}
