import { join } from "node:path";
import type { OutputJson } from "../../../contract/shim/process-json.js";
import { makeFifo } from "../../../system/linux/fifo.js";
import type { Stdio } from "../../tasks/process.js";
import type { ContainerConfig } from "../container-config.js";
import type { EngineContainer } from "../engine-container.js";
import type { LogDirectories } from "./log-directories.js";
import { limitsOf } from "./log-limits.js";

/** In the bundle of a container that waits for input by other ways than the caller's streams. */
const STDIN = "stdin";

/**
 * Where the streams of a container lead that its caller has named none for: into its log, and to a FIFO that whoever attaches writes into.
 * @param bundle where the container's bundle will be
 */
export function ownStdio(
  logs: LogDirectories,
  container: EngineContainer,
  { log, openStdin }: Pick<ContainerConfig, "log" | "openStdin">,
  stdio: Stdio,
  bundle: string,
): Stdio {
  const limits = stdio.stdout === "" && stdio.stderr === "" ? limitsOf(log) : undefined;
  const isOpen = openStdin && stdio.stdin === "";
  if (limits === undefined && !isOpen) return stdio;
  let stdout: OutputJson = { path: stdio.stdout };
  let stderr: OutputJson = { path: stdio.stderr };
  if (limits !== undefined) {
    container.hasLog = true;
    stdout = { path: logs.of(container), log: { start: logs.prepare(container), ...limits } };
    stderr = stdout;
  }
  return { ...stdio, leadsTo: { stdin: isOpen ? join(bundle, STDIN) : stdio.stdin, stdout, stderr } };
}

/** Makes what {@link ownStdio} has promised. @throws a system error */
export function fillStdio(bundle: string, { leadsTo, stdin }: Stdio): void {
  if (leadsTo !== undefined && stdin === "" && leadsTo.stdin !== "") makeFifo(join(bundle, STDIN));
}
