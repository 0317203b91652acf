/** A busybox container on a test's daemon, from the bundle to the exit status. */
import type { CallOptions, Partially, wire } from "./api.js";
import type { BundleOptions } from "./bundle.js";
import type { TestDaemon } from "./daemon.js";
import { collect, openStdio, type Stdio } from "./stdio.js";
import { eventually, PATIENCE, within } from "./wait.js";

export interface ContainerOptions extends BundleOptions {
  /** The end of its id; unique within the daemon. */
  name: string;
  /** Connects FIFOs; without, its stdio is /dev/null. */
  stdio?: boolean;
  /** More of the request. */
  request?: Partially<wire.CreateContainerRequest>;
  call?: CallOptions;
}

/** `await using` ends it, also when the test fails; `using` only lets go of its stdio. */
export interface TestContainer extends Disposable, AsyncDisposable {
  readonly id: string;
  readonly bundle: string;
  readonly response: wire.CreateContainerResponse;
  /** Only with `stdio: true`. */
  readonly stdio: Stdio;
  /** All of its output; resolves when the shim has closed both. Only with `stdio: true`. */
  output(timeout?: number): Promise<{ stdout: Buffer; stderr: Buffer }>;
  /** Resolves when stdout has shown this text. Only with `stdio: true`. */
  printed(text: string, timeout?: number): Promise<void>;
  /** The status of its exit event. */
  exit(timeout?: number): Promise<number>;
  kill(signal?: number, pid?: string): Promise<void>;
}

/** Creates a container and waits for the daemon's answer: it runs then. */
export async function startContainer(daemon: TestDaemon, options: ContainerOptions): Promise<TestContainer> {
  const { name, stdio: connect, request, call, ...bundleOptions } = options;
  const id = daemon.id(name);
  const bundle = daemon.bundle(name, bundleOptions);
  const stdio = connect ? openStdio(daemon.dir, name) : undefined;
  const stdout = stdio && collect(stdio.stdout);
  const stderr = stdio && collect(stdio.stderr);
  // Subscribed before, so that the exit of a short-lived container is seen.
  void daemon.events;
  let response: wire.CreateContainerResponse;
  try {
    response = await daemon.api.createContainer({ id, bundlePath: bundle, ...stdio?.paths, ...request }, call);
  } catch (error) {
    stdio?.[Symbol.dispose]();
    throw error;
  }
  return {
    id,
    bundle,
    response,
    get stdio() {
      if (!stdio) throw new Error(`${id} was started without stdio`);
      return stdio;
    },
    async output(timeout = PATIENCE) {
      if (!stdout || !stderr) throw new Error(`${id} was started without stdio`);
      const both = Promise.all([stdout.whole, stderr.whole]);
      const [out, err] = await within(both, `the end of the output of ${id}`, timeout);
      return { stdout: out, stderr: err };
    },
    async printed(text, timeout = PATIENCE) {
      if (!stdout) throw new Error(`${id} was started without stdio`);
      await eventually(() => stdout.soFar().includes(text), { timeout, interval: 2, what: `"${text}" from ${id}` });
    },
    async exit(timeout) {
      try {
        return (await daemon.events.waitFor({ type: "exit", id, pid: "init" }, timeout)).status;
      } catch (error) {
        // What keeps it from ending is most of the diagnosis.
        const left = daemon.leftovers().filter((line) => line.includes(id));
        throw new Error(`${(error as Error).message}; there are:\n  ${left.join("\n  ")}`, { cause: error });
      }
    },
    async kill(signal = 9, pid = "init") {
      await daemon.api.signal({ id, pid, signal });
    },
    [Symbol.dispose]() {
      stdio?.[Symbol.dispose]();
    },
    async [Symbol.asyncDispose]() {
      stdio?.[Symbol.dispose]();
      if (!daemon.running || daemon.events.all({ type: "exit", id, pid: "init" }).length > 0) return;
      try {
        await daemon.api.signal({ id, pid: "init", signal: 9 }, { timeout: 30_000 });
        await daemon.events.waitFor({ type: "exit", id, pid: "init" }, 30_000);
      } catch {
        // It has ended meanwhile. What else is left, the daemon's end removes.
      }
    },
  };
}
