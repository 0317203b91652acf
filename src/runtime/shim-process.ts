import { commandLineOf, processesWithCwd } from "../linux/proc-cwd.js";

/** A shim that this daemon did not launch, as the process table shows it. */
export interface ShimProcess {
  pid: number;
  bundle: string;
  runtime: string;
}

/** The shims that sit in a process directory. A process that merely stands there (somebody's shell) is none: a shim's last arguments are its container's. */
export function findShims(directory: string, containerId: string): ShimProcess[] {
  return processesWithCwd(directory).flatMap((pid) => {
    const [id, bundle, runtime] = commandLineOf(pid).slice(-3);
    return id === containerId && bundle !== undefined && runtime !== undefined ? [{ pid, bundle, runtime }] : [];
  });
}
