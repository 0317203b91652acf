import type { ContainerParts } from "./container.js";
import { ContainerProcess } from "./container-process.js";
import { ContainerdError } from "./containerd-error.js";
import { whileLost } from "./lost-daemon.js";
import { createStdio, detachedStdin, type Stdio } from "./stdio.js";
import { toTimestamp } from "./timestamp.js";

/** "pipe": streams to read and write. "ignore": no input, output is dropped. "detached": an input that never ends, output is dropped. */
export type StdioKind = "pipe" | "ignore" | "detached";

export interface StartRequest {
  containerId: string;
  name: string;
  terminal: boolean;
  stdio: StdioKind;
  stdioDir: string | undefined;
  /** Asks the daemon; resolves with the system pid. */
  start(paths: Stdio["paths"]): Promise<number>;
}

const noPaths = { stdin: "", stdout: "", stderr: "" };

/** Starts a process with its streams, watched from before it runs. A start that fails leaves nothing. */
export async function startProcess(parts: ContainerParts, request: StartRequest): Promise<ContainerProcess> {
  const { containerId, name, terminal, start } = request;
  if (request.stdio !== "pipe") {
    const stdin = request.stdio === "detached" ? detachedStdin(request.stdioDir) : undefined;
    try {
      const since = toTimestamp(Date.now());
      const systemPid = await start({ ...noPaths, stdin: stdin?.path ?? "" });
      return new ContainerProcess({ ...parts, containerId, name, systemPid, since });
    } finally {
      stdin?.remove();
    }
  }
  const closeStdin = () => closeStdinOf(parts, containerId, name);
  const stdio = createStdio({ dir: request.stdioDir, terminal, closeStdin });
  let drop: (() => void) | undefined;
  try {
    const expected = await parts.exits.expectStart(containerId, name);
    drop = expected.drop;
    const systemPid = await start(stdio.paths);
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

async function closeStdinOf({ api, patience }: ContainerParts, id: string, pid: string): Promise<void> {
  try {
    await whileLost(() => api.updateProcess({ id, pid, closeStdin: true }), patience);
  } catch (error) {
    // A process that has ended needs no end of its input.
    if (!(error instanceof ContainerdError && error.isNotFound)) throw error;
  }
}
