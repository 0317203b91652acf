import { randomUUID } from "node:crypto";
import { resolve } from "node:path";
import type { Container as ContainerState } from "../proto/containerd.js";
import { type BundleOptions, createBundle } from "./bundle.js";
import type { CallOptions } from "./call-options.js";
import { Container, type ContainerParts, findContainer } from "./container.js";
import { ContainerProcess } from "./container-process.js";
import { type StdioKind, startProcess } from "./start-process.js";
import { StartedContainer } from "./started-container.js";

/** What every start takes. */
export interface CommonStartOptions extends CallOptions {
  /** One path component that no other container has. Default: a random one. */
  id?: string | undefined;
  labels?: string[] | undefined;
  /** Default: "pipe". */
  stdio?: StdioKind | undefined;
  /** Where the FIFOs are made. Default: the system's temporary folder. */
  stdioDir?: string | undefined;
  /** A name or path on the daemon's host. Default: the daemon's own. */
  runtime?: string | undefined;
  /** Count only together with `runtime`. */
  runtimeArgs?: string[] | undefined;
  noPivotRoot?: boolean | undefined;
  /** The name of a checkpoint to restore from. */
  checkpoint?: string | undefined;
  /** Default: the folder `checkpoints` in the bundle. */
  checkpointDir?: string | undefined;
}

/** A container from a bundle that is there already. */
export interface StartBundleOptions extends CommonStartOptions {
  /** The folder with config.json. A relative path is taken from this process's working directory. */
  bundle: string;
  /** The bundle's config.json asks for a terminal: there is no stderr then. */
  terminal?: boolean | undefined;
}

/** A container whose bundle is built for it, and removed when it is gone (by this program, so not if it ends before). */
export interface StartBuiltOptions extends CommonStartOptions, BundleOptions {
  bundle?: undefined;
}

export type StartOptions = StartBundleOptions | StartBuiltOptions;

/** The daemon's containers. */
export class Containers {
  readonly #parts: ContainerParts;

  /** @internal */
  constructor(parts: ContainerParts) {
    this.#parts = parts;
  }

  /**
   * Creates and starts a container, from a bundle or from a root file system. A failed, aborted or timed-out start
   * leaves nothing.
   *
   * @throws ContainerdError ALREADY_EXISTS for an id in use, NOT_FOUND for a bundle that is not there, else with the
   *   runtime's words; TypeError or RangeError for options that make no sense.
   * @example
   * await using container = await client.containers.start({ rootfs: "/srv/rootfs", args: ["echo", "hello"] });
   * container.init.stdout.pipe(process.stdout);
   * const { status } = await container.wait();
   */
  async start(options: StartOptions): Promise<StartedContainer> {
    const { id = randomUUID(), signal } = options;
    if (id === "") throw new TypeError("container id cannot be empty");
    if (options.bundle === "") throw new TypeError("bundle path cannot be empty");
    signal?.throwIfAborted();
    if (options.bundle !== undefined)
      return new StartedContainer(this.#parts, id, await this.#startBundle(id, options, options.bundle));
    // A host's name has at most 64 characters.
    const bundle = await createBundle({ ...options, hostname: options.hostname ?? id.slice(0, 64) });
    try {
      const init = await this.#startBundle(id, options, bundle.path, true);
      return new StartedContainer(this.#parts, id, init, bundle);
    } catch (error) {
      await bundle.remove();
      throw error;
    }
  }

  async #startBundle(id: string, options: StartOptions, bundle: string, own = false): Promise<ContainerProcess> {
    const { terminal = false, stdio = "pipe", stdioDir, signal, timeout } = options;
    return startProcess(this.#parts, {
      containerId: id,
      name: "init",
      terminal,
      stdio,
      stdioDir,
      signal,
      timeout,
      bundle: own ? bundle : undefined,
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
