import type { Container as ContainerState, UpdateResource } from "../proto/containerd.js";
import type { Api, Fields } from "./api.js";
import type { CallOptions } from "./call-options.js";
import { ContainerProcess } from "./container-process.js";
import { ContainerdError } from "./containerd-error.js";
import type { ExitStatus, ExitWatch } from "./exit-watch.js";
import type { SignalName } from "./signals.js";
import { type StdioKind, startProcess } from "./start-process.js";
import { type Timestamp, toTimestamp } from "./timestamp.js";

/** Limits to change; what is not given stays as it is. Bytes, microseconds, counts: as on the wire. */
export type Limits = Fields<UpdateResource>;

export interface ExecOptions extends CallOptions {
  /** A name that no other process of the container has. Default: a random one. */
  name?: string;
  /** "KEY=value". Default: none, so a program is not looked up on any PATH. */
  env?: string[];
  /** Default: "/". */
  cwd?: string;
  user?: { uid?: number; gid?: number; additionalGids?: number[] };
  /** Gives it a terminal: `stdout` then is all of its output. */
  terminal?: boolean;
  /** Default: "pipe". */
  stdio?: StdioKind;
  /** Where the FIFOs are made. Default: the system's temporary folder. */
  stdioDir?: string;
  capabilities?: string[];
  noNewPrivileges?: boolean;
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
    const { name = crypto.randomUUID(), env = [], cwd = "/", user = {}, terminal = false, signal, timeout } = options;
    return startProcess(this.#parts, {
      containerId: this.id,
      name,
      terminal,
      stdio: options.stdio ?? "pipe",
      stdioDir: options.stdioDir,
      start: async (paths) => {
        const { systemPid } = await api.addProcess(
          {
            id: this.id,
            pid: name,
            args: [...args],
            env,
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

  /** Changes limits while it runs. */
  async update(limits: Limits, options?: CallOptions): Promise<void> {
    await this.#parts.api.updateContainer({ id: this.id, resources: limits }, options);
  }

  /** As the daemon sees it now. @throws ContainerdError when it is gone. */
  async state(options?: CallOptions): Promise<ContainerState> {
    return stateOf(this.#parts.api, this.id, options);
  }
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
