import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { SignalName } from "../../../contract/signals.js";
import type { Checkpoint as CheckpointState, Container as ContainerState, Process } from "../../../proto/containerd.js";
import { type CallOptions, callChecks } from "../../api/call-options.js";
import type { Api } from "../../api/v0.js";
import { argsCheck, capabilitiesCheck, capabilityNames } from "../../bundle/spec.js";
import { ContainerdError } from "../../errors/containerd-error.js";
import { explainFailure } from "../../errors/failure-causes.js";
import { type Environment, environmentCheck, environmentList } from "../../options/environment.js";
import { type Limits, limitsChecks, toUpdateResource } from "../../options/limits.js";
import {
  absolutePath,
  anyText,
  type Checks,
  checkOptions,
  flag,
  listOf,
  nameText,
  pathText,
} from "../../options/option-checks.js";
import { isLookedUp, type User, userCheck, userIds } from "../../options/user.js";
import type { ExitStatus, ExitWatch } from "../events/exit-watch.js";
import { ContainerProcess } from "./container-process.js";
import { type ContainerStats, statsOf, type WatchStatsOptions, watchStats } from "./container-stats.js";
import { type StdioKind, startProcess, stdioKind } from "./start-process.js";

export interface ExecOptions extends CallOptions {
  /** A name that no other process of the container has. Default: a random one. */
  name?: string | undefined;
  /**
   * Whether what is not given is as for the container's first process: user, env, cwd, capabilities, noNewPrivileges, resource limits and
   * security labels. Default: true. With false it is a bare process: root in "/" with a usual PATH and no capabilities.
   */
  inherit?: boolean | undefined;
  /** Beside the first process's variables, or in their place. With a terminal TERM=xterm is added where it is missing. */
  env?: Environment | undefined;
  cwd?: string | undefined;
  /** Names are looked up in the container's root file system. */
  user?: User | undefined;
  /** Gives it a terminal: `stdout` then is all of its output. */
  terminal?: boolean | undefined;
  /** Default: "pipe". */
  stdio?: StdioKind | undefined;
  /** Where the FIFOs are made. Default: the system's temporary folder. */
  stdioDir?: string | undefined;
  /** With or without "CAP_". */
  capabilities?: readonly string[] | undefined;
  noNewPrivileges?: boolean | undefined;
}

const execChecks: Checks<ExecOptions> = {
  ...callChecks,
  name: nameText,
  inherit: flag,
  env: environmentCheck,
  cwd: absolutePath,
  user: userCheck,
  terminal: flag,
  stdio: stdioKind,
  stdioDir: pathText,
  capabilities: capabilitiesCheck,
  noNewPrivileges: flag,
};

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
  emptyNamespaces?: readonly string[] | undefined;
}

/** An empty one is as none. */
const directoryChecks: Checks<Pick<CheckpointOptions, "directory"> & CallOptions> = {
  ...callChecks,
  directory: anyText,
};

const checkpointChecks: Checks<CheckpointOptions> = {
  ...directoryChecks,
  exit: flag,
  tcp: flag,
  unixSockets: flag,
  shell: flag,
  emptyNamespaces: listOf(anyText),
};

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
    argsCheck(args, "args");
    checkOptions(options, execChecks);
    const { api } = this.#parts;
    const { name = randomUUID(), terminal = false, signal, timeout } = options;
    const call = { signal, timeout };
    const inherit = options.inherit ?? true;
    const state = inherit || isLookedUp(options.user) ? await this.state(call) : undefined;
    const init = inherit ? initOf(state!) : undefined;
    const user =
      options.user === undefined
        ? init?.user
        : userIds(options.user, isLookedUp(options.user) ? await rootfsOf(state!.bundlePath) : "");
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
            apparmorProfile: init?.apparmorProfile ?? "",
            selinuxLabel: init?.selinuxLabel ?? "",
            rlimits: init?.rlimits ?? [],
            pid: name,
            args: [...args],
            env: environmentList(options.env, terminal, init?.env),
            cwd: options.cwd ?? (init?.cwd || "/"),
            user: user ?? {},
            terminal,
            capabilities: options.capabilities ? capabilityNames(options.capabilities) : (init?.capabilities ?? []),
            noNewPrivileges: options.noNewPrivileges ?? init?.noNewPrivileges ?? false,
            ...paths,
          },
          call,
        );
        return systemPid;
      },
    });
  }

  /** How its first process ended. */
  wait(options?: CallOptions): Promise<ExitStatus> {
    return this.init.wait(options);
  }

  /** Sends a signal to its first process; default SIGTERM. */
  kill(signal?: SignalName, options?: CallOptions): Promise<void> {
    return this.init.kill(signal, options);
  }

  /** Freezes all of its processes. */
  async pause(options?: CallOptions): Promise<void> {
    await this.#change({ pid: "init", status: "paused" }, options);
  }

  async resume(options?: CallOptions): Promise<void> {
    await this.#change({ pid: "init", status: "running" }, options);
  }

  /**
   * Changes limits while it runs.
   *
   * @throws TypeError or RangeError for what is no limit.
   * @example
   * await container.update({ memory: 256 << 20, cpu: 1.5, pids: 100 });
   */
  async update(limits: Limits, options?: CallOptions): Promise<void> {
    checkOptions(limits, limitsChecks, "limits");
    await this.#change({ resources: toUpdateResource(limits) }, options);
  }

  async #change(change: Omit<Parameters<Api["updateContainer"]>[0], "id">, options?: CallOptions): Promise<void> {
    try {
      await this.#parts.api.updateContainer({ ...change, id: this.id }, options);
    } catch (error) {
      throw explainFailure(error, { containerId: this.id, name: "init" });
    }
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
    nameText(name, "name");
    checkOptions(options, checkpointChecks);
    const { exit = false, tcp = false, unixSockets = false, shell = false, emptyNamespaces = [] } = options;
    const checkpoint = { name, exit, tcp, unixSockets, shell, emptyNS: [...emptyNamespaces] };
    await this.#parts.api.createCheckpoint({ id: this.id, checkpoint, ...checkpointDir(options) }, call(options));
  }

  /** Its checkpoints. */
  async checkpoints(options: Pick<CheckpointOptions, "directory"> & CallOptions = {}): Promise<CheckpointState[]> {
    checkOptions(options, directoryChecks);
    const request = { id: this.id, ...checkpointDir(options) };
    const { checkpoints } = await this.#parts.api.listCheckpoint(request, call(options));
    return checkpoints;
  }

  /** Removes one of its checkpoints from disk. */
  async deleteCheckpoint(
    name: string,
    options: Pick<CheckpointOptions, "directory"> & CallOptions = {},
  ): Promise<void> {
    nameText(name, "name");
    checkOptions(options, directoryChecks);
    await this.#parts.api.deleteCheckpoint({ id: this.id, name, ...checkpointDir(options) }, call(options));
  }

  /** As the daemon sees it now. @throws ContainerdError when it is gone. */
  async state(options?: CallOptions): Promise<ContainerState> {
    return stateOf(this.#parts.api, this.id, options);
  }
}

/** What the container's first process was started with. */
function initOf({ id, processes }: ContainerState): Process {
  const init = processes.find(({ pid }) => pid === "init");
  if (init) return init;
  throw new ContainerdError("NOT_FOUND", `container "${id}" has no process "init" any more`, { containerId: id });
}

/** Where a container's root file system is on this machine. @throws Error when its bundle does not say */
async function rootfsOf(bundle: string): Promise<string> {
  const file = join(bundle, "config.json");
  try {
    return resolve(bundle, JSON.parse(await readFile(file, "utf8")).root.path);
  } catch (cause) {
    throw new Error(`users cannot be looked up: ${file}, which names the root file system, cannot be read`, { cause });
  }
}

function call({ signal, timeout }: CallOptions): CallOptions {
  return { signal, timeout };
}

function checkpointDir({ directory }: Pick<CheckpointOptions, "directory">): { checkpointDir: string } {
  return { checkpointDir: directory ? resolve(directory) : "" };
}

/** A handle for a container that runs. @throws ContainerdError with `isNotFound` when there is none with this id. */
export async function findContainer(parts: ContainerParts, id: string, options?: CallOptions): Promise<Container> {
  nameText(id, "id");
  const since = await parts.api.lastEventTime(options);
  const state = await stateOf(parts.api, id, options);
  const systemPid = state.processes.find((process) => process.pid === "init")?.systemPid ?? 0;
  return new Container(parts, id, new ContainerProcess({ ...parts, containerId: id, name: "init", systemPid, since }));
}

async function stateOf(api: Api, id: string, options?: CallOptions): Promise<ContainerState> {
  nameText(id, "id");
  const { containers } = await api.state({ id }, options);
  const container = containers.find((candidate) => candidate.id === id);
  if (container) return container;
  throw new ContainerdError("NOT_FOUND", "containerd: container not found", { containerId: id });
}
