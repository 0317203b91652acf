/** Another process in a test's container, from AddProcess to its exit status. */
import type { CallOptions, Partially, wire } from "./api.js";
import type { TestDaemon } from "./daemon.js";
import { collect, openStdio, type Stdio } from "./stdio.js";
import { eventually, PATIENCE, within } from "./wait.js";

export interface ExecOptions {
  /** The process's name; unique within the container. */
  pid: string;
  args: string[];
  /** Connects FIFOs; without, its stdio is /dev/null. */
  stdio?: boolean;
  /** More of the request. */
  request?: Partially<wire.AddProcessRequest>;
  call?: CallOptions;
}

export interface TestExec extends Disposable {
  readonly pid: string;
  /** On the host. */
  readonly systemPid: number;
  /** Only with `stdio: true`. */
  readonly stdio: Stdio;
  /** All of its output; resolves when the shim has closed both. Only with `stdio: true`. */
  output(timeout?: number): Promise<{ stdout: string; stderr: string }>;
  /** Resolves when stdout has shown this text. Only with `stdio: true`. */
  printed(text: string, timeout?: number): Promise<void>;
  /** The status of its exit event. */
  exit(timeout?: number): Promise<number>;
  kill(signal?: number): Promise<void>;
}

/** Runs a process in a container and waits for the daemon's answer. */
export async function startExec(
  daemon: TestDaemon,
  container: { id: string },
  options: ExecOptions,
): Promise<TestExec> {
  const { pid, args, stdio: connect, request, call } = options;
  const { id } = container;
  const stdio = connect ? openStdio(daemon.dir, `${id}.${pid}`) : undefined;
  const stdout = stdio && collect(stdio.stdout);
  const stderr = stdio && collect(stdio.stderr);
  void daemon.events;
  let response: wire.AddProcessResponse;
  try {
    response = await daemon.api.addProcess({ id, pid, args, ...stdio?.paths, ...request }, call);
  } catch (error) {
    stdio?.[Symbol.dispose]();
    throw error;
  }
  return {
    pid,
    systemPid: response.systemPid,
    get stdio() {
      if (!stdio) throw new Error(`${id}/${pid} was started without stdio`);
      return stdio;
    },
    async output(timeout = PATIENCE) {
      if (!stdout || !stderr) throw new Error(`${id}/${pid} was started without stdio`);
      const both = Promise.all([stdout.whole, stderr.whole]);
      const [out, err] = await within(both, `the end of the output of ${id}/${pid}`, timeout);
      return { stdout: out.toString(), stderr: err.toString() };
    },
    async printed(text, timeout = PATIENCE) {
      if (!stdout) throw new Error(`${id}/${pid} was started without stdio`);
      await eventually(() => stdout.soFar().includes(text), {
        timeout,
        interval: 2,
        what: `"${text}" from ${id}/${pid}`,
      });
    },
    async exit(timeout) {
      return (await daemon.events.waitFor({ type: "exit", id, pid }, timeout)).status;
    },
    async kill(signal = 9) {
      await daemon.api.signal({ id, pid, signal });
    },
    [Symbol.dispose]() {
      stdio?.[Symbol.dispose]();
    },
  };
}
