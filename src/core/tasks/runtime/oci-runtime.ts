import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import type { ExecFifoAccess } from "../../../contract/shim/start-channel.js";
import { BothEnds } from "../../../system/linux/both-ends.js";
import { type CommandResult, runCommand } from "../../../system/linux/child.js";
import { environmentStrings } from "../../../system/linux/spawn.js";
import { Failure, type NoRuntime } from "../../failure/failure.js";
import { findRuntime, whyNoRuntime } from "./find-runtime.js";
import type { OciSpec } from "./spec.js";

/**
 * What our children get of our environment: all but what systemd meant for this daemon alone (a runtime would hand NOTIFY_SOCKET to the
 * container) and what the program's first lines have set.
 */
export const childEnvironment: readonly string[] = environmentStrings({
  ...process.env,
  NOTIFY_SOCKET: undefined,
  LISTEN_FDS: undefined,
  LISTEN_PID: undefined,
  LISTEN_FDNAMES: undefined,
  UV_THREADPOOL_SIZE: undefined,
  MALLOC_ARENA_MAX: undefined,
  MALLOC_MMAP_THRESHOLD_: undefined,
});

/**
 * Added for runc when there are more calls at a time than processors: with one processor for Go's scheduler a call costs a
 * twentieth less CPU, but takes a millisecond longer when it has the machine for itself (docs/performance.md). Not for other runtimes: what
 * they start may live on with it.
 */
const crowdedEnvironment: readonly string[] = process.env.GOMAXPROCS === undefined ? ["GOMAXPROCS=1"] : [];

/** What `<runtime> state` prints. */
export interface RuntimeState {
  /** "created", "running", "paused", "stopped" */
  status?: string;
  bundle?: string;
  /** Of the container's init, on the host; 0 when it has ended. */
  pid?: number;
}

/** The FIFO that a created container waits at, and what the one who starts it does with it. */
export interface ExecFifo {
  access: ExecFifoAccess;
  path: string;
}

interface CallOptions {
  stdin?: string;
  signal?: AbortSignal | undefined;
}

/** The command line of an OCI runtime (runc, crun, …) with the arguments that go before every subcommand. */
export class OciRuntime {
  readonly name: string;
  readonly args: readonly string[];

  constructor(name: string, args: readonly string[]) {
    this.name = name;
    this.args = args;
  }

  /**
   * What a call gets besides {@link childEnvironment}.
   * @param calls how many there are at a time
   */
  environment(calls: number): readonly string[] {
    return calls > availableParallelism() && this.#kind === "runc" ? crowdedEnvironment : [];
  }

  /**
   * Where a container waits for its start, for the runtimes whose way is known: runc since 1.0-rc2, crun since 0.1 (strace of their `start`
   * shows it). Undefined for the others, and wrappers of them may have a part in `start`.
   */
  execFifo(containerId: string): ExecFifo | undefined {
    const directory = this.directory(containerId);
    if (directory === undefined) return undefined;
    return { access: this.#kind === "runc" ? "read" : "write", path: join(directory, "exec.fifo") };
  }

  /** Where it keeps what it knows of a container, for the runtimes whose way is known. */
  directory(containerId: string): string | undefined {
    const kind = this.#kind;
    if (kind === undefined || process.geteuid?.() !== 0) return undefined;
    return join(optionValue(this.args, "root") ?? `/run/${kind}`, containerId);
  }

  /**
   * That directory, where removing it, and the container's cgroups, is all that `delete` does of a container whose processes have ended:
   * runc's that makes the cgroups itself (libcontainer's `destroy`). A crun's call takes a millisecond; it may as well be made.
   */
  directoryToRemove(containerId: string, { hooks, linux }: OciSpec): string | undefined {
    const asksForMore = (hooks?.poststop?.length ?? 0) > 0 || (linux?.intelRdt ?? null) !== null;
    if (this.#kind !== "runc" || asksForMore || this.args.includes("--systemd-cgroup")) return undefined;
    return this.directory(containerId);
  }

  /** Whether its `pause` and `resume` do no more than to write to the freezer, which it asks whether a container is paused. */
  get pausesByFreezer(): boolean {
    return this.#kind !== undefined;
  }

  /** Which of the runtimes whose ways are known it is, by its name. */
  get #kind(): "runc" | "crun" | undefined {
    const name = basename(this.name).replace(/^docker-runc$/, "runc");
    return name === "runc" || name === "crun" ? name : undefined;
  }

  /** Lets a created container's process run. */
  async start(id: string, options?: CallOptions): Promise<void> {
    await this.#run(["start", id], options);
  }

  async pause(id: string, options?: CallOptions): Promise<void> {
    await this.#run(["pause", id], options);
  }

  async resume(id: string, options?: CallOptions): Promise<void> {
    await this.#run(["resume", id], options);
  }

  /** Changes resource limits; `resources` is the OCI `linux.resources` object with what is to change, as JSON. */
  async update(id: string, resources: string, options?: CallOptions): Promise<void> {
    await this.#run(["update", "-r", "-", id], { ...options, stdin: resources });
  }

  /** Removes a container, killing it if it still runs; fine when there is none. Throws when it says that it could not. */
  async forceDelete(id: string, options?: CallOptions): Promise<void> {
    await this.#run(["delete", "--force", id], options);
  }

  async checkpoint(id: string, flags: readonly string[], options?: CallOptions): Promise<void> {
    await this.#run(["checkpoint", ...flags, id], options);
  }

  /** The runtime's own view of a container; undefined when it knows none with this id, or can't be asked. */
  async state(id: string, options?: CallOptions): Promise<RuntimeState | undefined> {
    try {
      const { status, output } = await this.call(["state", id], options);
      return status === 0 ? (JSON.parse(output) as RuntimeState) : undefined;
    } catch {
      return undefined;
    }
  }

  /** Whether it says that it knows no container with this id; false also when it can't be asked. */
  async knowsNone(id: string, options?: CallOptions): Promise<boolean> {
    try {
      const { status, output } = await this.call(["state", id], options);
      // runc's words, and crun's, which looks for the container's file.
      const isCrunsFile = output.includes(`/${id}/status`) && /no such file or directory/i.test(output);
      return status !== 0 && (/container .*does not exist/.test(output) || isCrunsFile);
    } catch {
      return false;
    }
  }

  /** One sample of `events --stats`: a JSON text. For runtimes whose containers have no cgroup on this host. */
  async stats(id: string, options?: CallOptions): Promise<string> {
    return (await this.#run(["events", "--stats", id], options)).output;
  }

  /** The host pids of all processes in the container, by the runtime. */
  async ps(id: string, options?: CallOptions): Promise<number[]> {
    return JSON.parse((await this.#run(["ps", "--format", "json", id], options)).output) as number[];
  }

  /**
   * Runs one subcommand to its end, whatever that is.
   * @throws Failure: not-found when the runtime is not installed, deadline-exceeded when its file system does not answer
   */
  async call(args: readonly string[], options: CallOptions = {}): Promise<CommandResult> {
    const file = await findRuntime(this.name, options.signal);
    if (file === undefined) throw await notInstalled(this.name, options.signal);
    return await runCommand(file.path, [this.name, ...this.args, ...args], {
      env: childEnvironment,
      ...(options.stdin === undefined ? {} : { stdin: options.stdin }),
      signal: options.signal,
    });
  }

  async #run(args: readonly string[], options?: CallOptions): Promise<CommandResult> {
    const result = await this.call(args, options);
    if (result.status !== 0) throw runtimeFailure(args[0]!, result);
    return result;
  }
}

async function notInstalled(name: string, signal?: AbortSignal): Promise<Failure> {
  const notFound = (why: NoRuntime) => new Failure("not-found", "runtime-not-found", { runtime: name, why });
  if (!name.includes("/")) return notFound("not on the PATH");
  return notFound(await whyNoRuntime(name, signal));
}

/** The last value of `--name VALUE` or `--name=VALUE`, as both runtimes take it. */
function optionValue(args: readonly string[], name: string): string | undefined {
  let value: string | undefined;
  for (const [index, arg] of args.entries()) {
    const [, option, own] = /^--?([a-z-]+)(?:=(.*))?$/s.exec(arg) ?? [];
    if (option === name) value = own ?? args[index + 1];
  }
  return value;
}

/** In bytes: how much of a failed call's output is told, of its beginning and of its end. */
const TOLD = 8192;

function runtimeFailure(call: string, { status, output }: CommandResult): Failure {
  const told = new BothEnds(TOLD, TOLD);
  told.append(Buffer.from(output));
  return new Failure("internal", "runtime-failed", { call, status, output: `${told}` });
}
