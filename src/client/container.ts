import { randomUUID } from "node:crypto";
import { resolve } from "node:path";
import type { Checkpoint as CheckpointState, Container as ContainerState } from "../proto/containerd.js";
import type { Api } from "./api.js";
import type { CallOptions } from "./call-options.js";
import { ContainerProcess } from "./container-process.js";
import { type ContainerStats, statsOf, type WatchStatsOptions, watchStats } from "./container-stats.js";
import { ContainerdError } from "./containerd-error.js";
import { type Environment, environmentList } from "./environment.js";
import type { ExitStatus, ExitWatch } from "./exit-watch.js";
import { type Limits, toUpdateResource } from "./limits.js";
import type { SignalName } from "./signals.js";
import type { User } from "./spec.js";
import { type StdioKind, startProcess } from "./start-process.js";
import { type Timestamp, toTimestamp } from "./timestamp.js";

export interface ExecOptions extends CallOptions {
  /** A name that no other process of the container has. Default: a random one. */
  name?: string | undefined;
  /** Not the container's own. Default: a usual PATH, and with a terminal TERM=xterm; they are added where they are missing. */
  env?: Environment | undefined;
  /** Default: "/". */
  cwd?: string | undefined;
  user?: User | undefined;
  /** Gives it a terminal: `stdout` then is all of its output. */
  terminal?: boolean | undefined;
  /** Default: "pipe". */
  stdio?: StdioKind | undefined;
  /** Where the FIFOs are made. Default: the system's temporary folder. */
  stdioDir?: string | undefined;
  capabilities?: string[] | undefined;
  noNewPrivileges?: boolean | undefined;
}

export interface CheckpointOptions extends CallOptions {
  /** Where checkpoints are kept. Default: the folder `checkpoints` in the bundle, which is gone with a bundle that `start` has built. */
  directory?: string | undefined;
  /** Whether the container ends once it is saved. Default: false. */
  exit?: boolean | undefined;
  /** Whether open TCP connections are saved, or make it fail. */
  tcp?: boolean | undefined;
  /** Whether unix sockets that are connected to the outside are saved, or make it fail. */
  unixSockets?: boolean | undefined;
  /** Needed for a process with a terminal. */
  shell?: boolean | undefined;
  /** Namespaces that are made anew at the restore, without what is in them: ["network"]. */
  emptyNamespaces?: string[] | undefined;
}

/** What a container handle works with. */
export interface ContainerParts {
  api: Api;
  exits: ExitWatch;
  patience: number | undefined;
}

/** A container that was started or found. The handle stays good across restarts of the daemon. */
export class Container {
  readonly id: string;
  /** Its first process; when that ends, the container does. */
  readonly init: ContainerProcess;
  readonly #parts: ContainerParts;

  /** @internal */
  constructor(parts: ContainerParts, id: string, init: ContainerProcess) {
    this.#parts = parts;
    this.id = id;
    this.init = init;
  }

  /**
   * Runs one more process in the container.
   *
   * @throws ContainerdError with the runtime's words when the command cannot be run.
   * @example
   * const ls = await container.exec(["/bin/ls", "-l"]);
   * for await (const chunk of ls.stdout) process.stdout.write(chunk);
   * const { status } = await ls.wait();
   */
  async exec(args: readonly string[], options: ExecOptions = {}): Promise<ContainerProcess> {
    const { api } = this.#parts;
    const { name = randomUUID(), env, cwd = "/", user = {}, terminal = false, signal, timeout } = options;
    return startProcess(this.#parts, {
      containerId: this.id,
      name,
      terminal,
      stdio: options.stdio ?? "pipe",
      stdioDir: options.stdioDir,
      signal,
      timeout,
      start: async (paths) => {
        const { systemPid } = await api.addProcess(
          {
            id: this.id,
            pid: name,
            args: [...args],
            env: environmentList(env, terminal),
            cwd,
            user,
            terminal,
            capabilities: options.capabilities ?? [],
            noNewPrivileges: options.noNewPrivileges ?? false,
            ...paths,
          },
          { signal, timeout },
        );
        return systemPid;
      },
    });
  }

  /** How its first process ended. */
  wait(options?: Pick<CallOptions, "signal">): Promise<ExitStatus> {
    return this.init.wait(options);
  }

  /** Sends a signal to its first process; default SIGTERM. */
  kill(signal?: SignalName, options?: CallOptions): Promise<void> {
    return this.init.kill(signal, options);
  }

  /** Freezes all of its processes. */
  async pause(options?: CallOptions): Promise<void> {
    await this.#parts.api.updateContainer({ id: this.id, pid: "init", status: "paused" }, options);
  }

  async resume(options?: CallOptions): Promise<void> {
    await this.#parts.api.updateContainer({ id: this.id, pid: "init", status: "running" }, options);
  }

  /**
   * Changes limits while it runs.
   *
   * @throws RangeError for what is no limit.
   * @example
   * await container.update({ memory: 256 << 20, cpu: 1.5, pids: 100 });
   */
  async update(limits: Limits, options?: CallOptions): Promise<void> {
    await this.#parts.api.updateContainer({ id: this.id, resources: toUpdateResource(limits) }, options);
  }

  /** What it uses now. @throws ContainerdError, `isNotFound` when it is gone. */
  stats(options?: CallOptions): Promise<ContainerStats> {
    return statsOf(this.#parts.api, this.id, options);
  }

  /**
   * What it uses, again and again until it is gone. A daemon that is being restarted is waited for.
   *
   * @example
   * for await (const { cpu, memory } of container.watchStats({ interval: 500 })) console.log(cpu.share, memory.usage);
   */
  watchStats(options?: WatchStatsOptions): AsyncGenerator<ContainerStats, void, undefined> {
    return watchStats(this.#parts, this.id, options);
  }

  /**
   * Saves the state of all its processes to disk (with CRIU, which must be on the daemon's PATH), to be restored by
   * `containers.start({ …, checkpoint: name, checkpointDir: directory })`.
   *
   * @throws ContainerdError with the runtime's words when it cannot be saved.
   * @example
   * await container.checkpoint("before-upgrade", { directory: "/srv/checkpoints", exit: true });
   */
  async checkpoint(name: string, options: CheckpointOptions = {}): Promise<void> {
    const { exit = false, tcp = false, unixSockets = false, shell = false, emptyNamespaces: emptyNS = [] } = options;
    const checkpoint = { name, exit, tcp, unixSockets, shell, emptyNS };
    await this.#parts.api.createCheckpoint({ id: this.id, checkpoint, ...checkpointDir(options) }, options);
  }

  /** Its checkpoints. */
  async checkpoints(options: Pick<CheckpointOptions, "directory"> & CallOptions = {}): Promise<CheckpointState[]> {
    const { checkpoints } = await this.#parts.api.listCheckpoint({ id: this.id, ...checkpointDir(options) }, options);
    return checkpoints;
  }

  /** Removes one of its checkpoints from disk. */
  async deleteCheckpoint(
    name: string,
    options: Pick<CheckpointOptions, "directory"> & CallOptions = {},
  ): Promise<void> {
    await this.#parts.api.deleteCheckpoint({ id: this.id, name, ...checkpointDir(options) }, options);
  }

  /** As the daemon sees it now. @throws ContainerdError when it is gone. */
  async state(options?: CallOptions): Promise<ContainerState> {
    return stateOf(this.#parts.api, this.id, options);
  }
}

function checkpointDir({ directory }: Pick<CheckpointOptions, "directory">): { checkpointDir: string } {
  return { checkpointDir: directory ? resolve(directory) : "" };
}

/** A handle for a container that runs. @throws ContainerdError with `isNotFound` when there is none with this id. */
export async function findContainer(parts: ContainerParts, id: string, options?: CallOptions): Promise<Container> {
  const since: Timestamp = toTimestamp(Date.now());
  const state = await stateOf(parts.api, id, options);
  const systemPid = state.processes.find((process) => process.pid === "init")?.systemPid ?? 0;
  return new Container(parts, id, new ContainerProcess({ ...parts, containerId: id, name: "init", systemPid, since }));
}

async function stateOf(api: Api, id: string, options?: CallOptions): Promise<ContainerState> {
  if (id === "") throw new TypeError("container id cannot be empty");
  const { containers } = await api.state({ id }, options);
  const container = containers.find((candidate) => candidate.id === id);
  if (container) return container;
  throw new ContainerdError("NOT_FOUND", "containerd: container not found", { containerId: id });
}
