import type { Stdio } from "../../core/tasks/process.js";

/** Where a process's stdio goes. What a request leaves empty is /dev/null, and is told so from then on. */
export function stdioOf({ stdin, stdout, stderr }: Stdio): Stdio {
  return { stdin: stdin || "/dev/null", stdout: stdout || "/dev/null", stderr: stderr || "/dev/null" };
}
