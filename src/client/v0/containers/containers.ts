import { randomUUID } from "node:crypto";
import { tmpdir } from "node:os";
import { dirname, resolve } from "node:path";
import type { Container as ContainerState } from "../../../proto/containerd.js";
import { type CallOptions, callChecks } from "../../api/call-options.js";
import { type BundleOptions, bundleChecks, makeBundle } from "../../bundle/bundle.js";
import { ownedFolderPrefix, removeAbandonedFolders, removeAbandonedFoldersOnce } from "../../bundle/owned-folders.js";
import { positiveDuration } from "../../options/duration.js";
import {
  anyText,
  type Checks,
  checkOptions,
  flag,
  listOf,
  nameText,
  pathText,
  required,
} from "../../options/option-checks.js";
import { Container, type ContainerParts, findContainer } from "./container.js";
import { ContainerProcess } from "./container-process.js";
import { type StdioKind, startProcess, stdioKind } from "./start-process.js";
import { StartedContainer } from "./started-container.js";

/** What every start takes. */
export interface CommonStartOptions extends CallOptions {
  /** One path component that no other container has. Default: a random one. */
  id?: string | undefined;
  labels?: readonly string[] | undefined;
  /** Default: "pipe". */
  stdio?: StdioKind | undefined;
  /** Where the FIFOs are made. Default: the system's temporary folder. */
  stdioDir?: string | undefined;
  /** A name or path on the daemon's host. Default: the daemon's own. */
  runtime?: string | undefined;
  /** Count only together with `runtime`. */
  runtimeArgs?: readonly string[] | undefined;
  noPivotRoot?: boolean | undefined;
  /**
   * Whether it belongs to this program: then it ends with it, however that ends; its daemon sees to that, where it can see this process.
   * Default: false, it runs on.
   */
  owned?: boolean | undefined;
  /** Milliseconds after its start; then the daemon kills it, whatever has become of this program. Default, and with Infinity: none. */
  lifetime?: number | undefined;
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

export interface PruneOptions {
  /** Where to look: what programs have given as `bundleDir` and `stdioDir`. Default: the system's temporary folder. */
  folders?: readonly string[] | undefined;
}

export interface PruneResult {
  /** The paths of the folders that were removed. */
  removed: string[];
}

const pruneChecks: Checks<PruneOptions> = { folders: listOf(pathText) };

/** An empty runtime or checkpoint is as none. */
const commonChecks: Checks<CommonStartOptions> = {
  ...callChecks,
  id: nameText,
  labels: listOf(anyText),
  stdio: stdioKind,
  stdioDir: pathText,
  runtime: anyText,
  runtimeArgs: listOf(anyText),
  noPivotRoot: flag,
  owned: flag,
  lifetime: positiveDuration,
  checkpoint: anyText,
  checkpointDir: anyText,
};

const startBundleChecks: Checks<StartBundleOptions> = { ...commonChecks, bundle: required(pathText), terminal: flag };

export const startBuiltChecks: Checks<Omit<StartBuiltOptions, "bundle">> = { ...commonChecks, ...bundleChecks };

/** 0 is none. */
function wireLifetime(ms = Number.POSITIVE_INFINITY): bigint {
  return ms === Number.POSITIVE_INFINITY ? 0n : BigInt(Math.min(Math.ceil(ms), Number.MAX_SAFE_INTEGER));
}

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
   * @throws ContainerdError whose `kind` says what is wrong with the id, the bundle, the root file system, the command, …, and whose
   *   message has the daemon's or the runtime's words and what can be done; TypeError or RangeError for options that make no sense.
   * @example
   * await using container = await client.v0.containers.start({ rootfs: "/srv/rootfs", args: ["echo", "hello"] });
   * container.init.stdout.pipe(process.stdout);
   * const { status } = await container.wait();
   */
  async start(options: StartOptions): Promise<StartedContainer> {
    if ((options as Partial<StartOptions> | undefined)?.bundle !== undefined) checkOptions(options, startBundleChecks);
    else checkOptions(options, startBuiltChecks);
    return this.startChecked(options);
  }

  /** {@link start} with options that have been checked. @internal */
  async startChecked(options: StartOptions): Promise<StartedContainer> {
    const { id = randomUUID(), signal } = options;
    signal?.throwIfAborted();
    if (options.bundle !== undefined)
      return new StartedContainer(this.#parts, id, await this.#startBundle(id, options, options.bundle));
    // A host's name has at most 64 characters.
    const prefix = options.owned ? `${ownedFolderPrefix()}bundle-` : undefined;
    const bundle = await makeBundle({ ...options, hostname: options.hostname ?? id.slice(0, 64) }, prefix);
    try {
      const init = await this.#startBundle(id, options, bundle.path, true);
      return new StartedContainer(this.#parts, id, init, bundle);
    } catch (error) {
      // That its folder cannot be removed as well is not what went wrong first.
      await bundle.remove().catch(() => {});
      throw error;
    }
  }

  async #startBundle(id: string, options: StartOptions, bundle: string, own = false): Promise<ContainerProcess> {
    const { terminal = false, stdio = "pipe", stdioDir, owned = false, signal, timeout } = options;
    if (owned) for (const dir of [stdioDir, own && dirname(bundle)]) if (dir) removeAbandonedFoldersOnce(resolve(dir));
    return startProcess(this.#parts, {
      containerId: id,
      name: "init",
      terminal,
      stdio,
      stdioDir,
      folderPrefix: owned ? ownedFolderPrefix() : undefined,
      signal,
      timeout,
      bundle: own ? bundle : undefined,
      about: { bundle: resolve(bundle), ...(options.bundle === undefined ? pathsOf(options) : {}) },
      start: async (paths) => {
        const { container } = await this.#parts.api.createContainer(
          {
            id,
            bundlePath: resolve(bundle),
            labels: [...(options.labels ?? [])],
            runtime: options.runtime ?? "",
            runtimeArgs: [...(options.runtimeArgs ?? [])],
            noPivotRoot: options.noPivotRoot ?? false,
            owned,
            lifetime: wireLifetime(options.lifetime),
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

  /**
   * Removes what programs that were killed have left on this machine of containers that belonged to them: bundles and FIFOs. The containers
   * themselves are ended by the daemon. {@link connect} does this for the system's temporary folder, in the background.
   *
   * @throws the system's error for a folder that cannot be read, or not be cleaned.
   */
  async prune(options: PruneOptions = {}): Promise<PruneResult> {
    checkOptions(options, pruneChecks);
    const { folders = [tmpdir()] } = options;
    const removed: string[] = [];
    for (const folder of folders) removed.push(...(await removeAbandonedFolders(resolve(folder))));
    return { removed };
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
    nameText(id, "id");
    const init = new ContainerProcess({ ...this.#parts, containerId: id, name: "init", systemPid: 0 });
    return new Container(this.#parts, id, init);
  }
}

/** The paths of the host that a container's options name. */
function pathsOf({ rootfs, network }: StartBuiltOptions): { rootfs: string; network: string | undefined } {
  return { rootfs, network: typeof network === "object" ? network.path : undefined };
}
