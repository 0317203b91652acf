import { resolve } from "node:path";
import type { Container as ContainerState } from "../proto/containerd.js";
import type { CallOptions } from "./call-options.js";
import { Container, type ContainerParts, findContainer } from "./container.js";
import { ContainerProcess } from "./container-process.js";
import { type StdioKind, startProcess } from "./start-process.js";

export interface StartOptions extends CallOptions {
  /** One path component. */
  id: string;
  /** The folder with config.json. A relative path is taken from this process's working directory. */
  bundle: string;
  labels?: string[];
  /** Default: "pipe". */
  stdio?: StdioKind;
  /** Where the FIFOs are made. Default: the system's temporary folder. */
  stdioDir?: string;
  /** The bundle's config.json asks for a terminal: there is no stderr then. */
  terminal?: boolean;
  /** A name or path on the daemon's host. Default: the daemon's own. */
  runtime?: string;
  /** Count only together with `runtime`. */
  runtimeArgs?: string[];
  noPivotRoot?: boolean;
  /** The name of a checkpoint to restore from. */
  checkpoint?: string;
  /** Default: the folder `checkpoints` in the bundle. */
  checkpointDir?: string;
}

/** The daemon's containers. */
export class Containers {
  readonly #parts: ContainerParts;

  constructor(parts: ContainerParts) {
    this.#parts = parts;
  }

  /**
   * Creates and starts a container from a bundle. A failed, aborted or timed-out start leaves nothing.
   *
   * @throws ContainerdError ALREADY_EXISTS for an id in use, NOT_FOUND for a bundle that is not there, else with the
   *   runtime's words.
   * @example
   * const container = await client.containers.start({ id: "hello", bundle: "/bundles/hello" });
   * container.init.stdout.pipe(process.stdout);
   * const { status } = await container.wait();
   */
  async start(options: StartOptions): Promise<Container> {
    const { id, bundle, terminal = false, stdio = "pipe", stdioDir, signal, timeout } = options;
    if (id === "") throw new TypeError("container id cannot be empty");
    if (bundle === "") throw new TypeError("bundle path cannot be empty");
    const init = await startProcess(this.#parts, {
      containerId: id,
      name: "init",
      terminal,
      stdio,
      stdioDir,
      start: async (paths) => {
        const { container } = await this.#parts.api.createContainer(
          {
            id,
            bundlePath: resolve(bundle),
            labels: options.labels ?? [],
            runtime: options.runtime ?? "",
            runtimeArgs: options.runtimeArgs ?? [],
            noPivotRoot: options.noPivotRoot ?? false,
            checkpoint: options.checkpoint ?? "",
            checkpointDir: options.checkpointDir ? resolve(options.checkpointDir) : "",
            ...paths,
          },
          { signal, timeout },
        );
        return container?.processes.find((process) => process.pid === "init")?.systemPid ?? 0;
      },
    });
    return new Container(this.#parts, id, init);
  }

  /** All containers, sorted by id. */
  async list(options?: CallOptions): Promise<ContainerState[]> {
    const { containers } = await this.#parts.api.state({}, options);
    return containers.sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** A handle for one that runs. @throws ContainerdError, `isNotFound` when there is none with this id. */
  get(id: string, options?: CallOptions): Promise<Container> {
    return findContainer(this.#parts, id, options);
  }

  /** A handle for one that is expected to run, without asking the daemon; its `init.systemPid` is 0. */
  reference(id: string): Container {
    const init = new ContainerProcess({ ...this.#parts, containerId: id, name: "init", systemPid: 0 });
    return new Container(this.#parts, id, init);
  }
}
