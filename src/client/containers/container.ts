import { randomBytes } from "node:crypto";
import type { Readable, Writable } from "node:stream";
import type { SignalName } from "../../contract/signals.js";
import { type CallOptions, callChecks } from "../api/call-options.js";
import type { EngineApi } from "../api/engine.js";
import { ownedFolderPrefix } from "../bundle/owned-folders.js";
import { ContainerdError } from "../errors/containerd-error.js";
import type { ArchiveSource } from "../images/images.js";
import { type EgressReport, egressReport } from "../networks/egress-report.js";
import { publishedPort } from "../networks/published-port.js";
import { duration, positiveDuration } from "../options/duration.js";
import { type Checks, checkOptions, flag, nameText, object, oneOf, pathText } from "../options/option-checks.js";
import { waitFor } from "../readiness/wait-for.js";
import { type WaitFor, type WaitForOptions, waitForCheck, waitForChecks } from "../readiness/wait-options.js";
import { Stdio } from "../streams/stdio.js";
import { Attachment, type AttachOptions } from "./attach.js";
import { containerLimitsChecks, signalText as signalCheck } from "./container-checks.js";
import { lifetimeOf, milliseconds, resourcesOf, signalText } from "./container-config.js";
import { type ContainerInfo, infoOf } from "./container-info.js";
import type { ContainerLimits, ContainerOptions } from "./container-options.js";
import { ContainerProcess } from "./container-process.js";
import { type ContainerStats, statsOf, type WatchStatsOptions, watchStats } from "./container-stats.js";
import {
  type ExecBufferOptions,
  type ExecOptions,
  type ExecResult,
  execIn,
  type SpawnOptions,
  spawnIn,
} from "./exec.js";
import { type ContainerExit, exitOf } from "./exit.js";
import {
  type FileContent,
  type FileInfo,
  type GetFilesOptions,
  getFiles,
  type NewFiles,
  type PutFilesOptions,
  putFiles,
  type ReadFileBufferOptions,
  type ReadFileOptions,
  readFile,
  statFile,
  type WriteFileOptions,
  writeFile,
} from "./files.js";
import { type ForkOptions, fork, forkRequest } from "./fork.js";
import { checkLogs, type LogLine, type LogsBufferOptions, type LogsOptions, logsOf } from "./logs.js";
import { type CommitOptions, commitOf, diffOf, type FileChange } from "./own-layer.js";
import { restartCheck, restartMessage } from "./policies.js";
import { closeStdinOf } from "./run.js";

/**
 * "ignore": no input, output is dropped; "output": streams to read; "pipe": also one to write, of a container that was made with
 * `openStdin`.
 */
export type ContainerStdio = "ignore" | "output" | "pipe";

export interface StartOptions extends CallOptions {
  /** Default: "ignore". */
  stdio?: ContainerStdio | undefined;
  /** Where the FIFOs are made; the daemon must see it at the same path. Default: the system's temporary directory. */
  stdioDir?: string | undefined;
}

export interface StartFromOptions extends StartOptions {
  /**
   * Begins where it was when it was saved: the name of a checkpoint of its own, or the path of a directory. Default: from the beginning.
   */
  checkpoint?: string | undefined;
}

export interface CheckpointOptions extends CallOptions {
  /** Whether it goes on. Default: false, it has stopped when the call resolves. */
  leaveRunning?: boolean | undefined;
  /** Whether connections over TCP are saved, instead of standing against it. Default: false. */
  tcpEstablished?: boolean | undefined;
  /** Whether unix sockets that lead out of it are saved, instead of standing against it. Default: false. */
  unixSockets?: boolean | undefined;
}

export interface StopOptions extends CallOptions {
  /** Milliseconds until it is killed. Default: the container's `stopTimeout`. */
  grace?: number | undefined;
  /** In place of the container's own `stopSignal`. */
  stopSignal?: string | undefined;
}

export interface KillOptions extends CallOptions {
  /** Whether every process in the container gets it. Default: false, only the first one. */
  all?: boolean | undefined;
}

export interface RemoveOptions extends CallOptions {
  /** Whether one that runs is killed first. Default: false. */
  force?: boolean | undefined;
}

export interface UpdateOptions extends CallOptions {
  /** What is not given stays as it is. */
  limits?: ContainerLimits | undefined;
  /** Milliseconds from now until it is killed; Infinity: not any more. */
  lifetime?: number | undefined;
  /** Milliseconds from now until it is killed and removed; Infinity: not any more. */
  ttl?: number | undefined;
  /** What starts it again when it ends from now on. */
  restart?: ContainerOptions["restart"];
}

export const stdioChecks = { stdio: oneOf("ignore", "output", "pipe"), stdioDir: pathText };
const startChecks: Checks<StartOptions> = { ...callChecks, ...stdioChecks };
const startFromChecks: Checks<StartFromOptions> = { ...startChecks, checkpoint: nameText };
const checkpointChecks: Checks<CheckpointOptions> = {
  ...callChecks,
  leaveRunning: flag,
  tcpEstablished: flag,
  unixSockets: flag,
};
const stopChecks: Checks<StopOptions> = { ...callChecks, grace: duration, stopSignal: signalCheck };
const restartChecks: Checks<StartOptions & Pick<StopOptions, "grace">> = { ...startChecks, grace: duration };
const killChecks: Checks<KillOptions> = { ...callChecks, all: flag };
const removeChecks: Checks<RemoveOptions> = { ...callChecks, force: flag };
const updateChecks: Checks<UpdateOptions> = {
  ...callChecks,
  limits: object(containerLimitsChecks),
  lifetime: duration,
  ttl: positiveDuration,
  restart: restartCheck,
};

/**
 * A container of the daemon's, whether it runs or not. Every method throws {@link ContainerdError}, `isNotFound` once it was removed, or
 * the signal's reason, and TypeError or RangeError for options that make no sense.
 */
export class Container {
  readonly id: string;
  protected readonly api: EngineApi;
  #info: ContainerInfo | undefined;
  #process: ContainerProcess | undefined;

  /** @internal */
  constructor(api: EngineApi, id: string, info?: ContainerInfo) {
    this.api = api;
    this.id = id;
    this.#info = info;
  }

  /** What was known of it when it was last asked for, by `get`, `list`, `inspect` or `state`. */
  get info(): ContainerInfo | undefined {
    return this.#info;
  }

  /** Its first process, with streams, when this object has started it with `stdio`. */
  get process(): ContainerProcess | undefined {
    return this.#process;
  }

  /** Of its first process. @throws Error when it was not started with `stdio` by this object */
  get stdin(): Writable {
    return this.#attached.stdin;
  }

  get stdout(): Readable {
    return this.#attached.stdout;
  }

  get stderr(): Readable {
    return this.#attached.stderr;
  }

  /**
   * Has it run, again if it has stopped. With `stdio` its streams are this object's `stdin`, `stdout` and `stderr` then.
   *
   * @throws ContainerdError, `isNotFound` also when there is no such checkpoint
   */
  async start(options: StartFromOptions = {}): Promise<void> {
    checkOptions(options, startFromChecks);
    const { id, api } = this;
    const { checkpoint = "" } = options;
    const startId = newStartId();
    await this.startWith(options, ({ paths }, call) =>
      api.again((signal) => api.calls.start({ id, stdio: paths, startId, checkpoint }, { signal }), call),
    );
  }

  /** Stops it and has it run again. */
  async restart(options: StartOptions & Pick<StopOptions, "grace"> = {}): Promise<void> {
    checkOptions(options, restartChecks);
    const { id, api } = this;
    const startId = newStartId();
    const grace = milliseconds(options.grace);
    await this.startWith(options, ({ paths }, call) =>
      api.again((signal) => api.calls.restart({ id, grace, stdio: paths, startId }, { signal }), call),
    );
  }

  /** @internal */
  async startWith(
    { stdio: kind = "ignore", stdioDir, signal, timeout }: StartOptions,
    start: (stdio: Pick<Stdio, "paths">, call: CallOptions) => Promise<{ pid: number }>,
    tty = this.#info?.config?.tty ?? false,
  ): Promise<void> {
    const { id, api } = this;
    const call = { signal, timeout };
    if (kind === "ignore") {
      await start({ paths: { stdin: "", stdout: "", stderr: "" } }, call);
      return;
    }
    const closeStdin = () => closeStdinOf(api, id, "");
    const stdio = new Stdio({ dir: stdioDir, terminal: tty, input: kind === "pipe", closeStdin }, ownedFolderPrefix());
    try {
      const { pid } = await start(stdio, call);
      this.#process = new ContainerProcess(api, { containerId: id, execId: "", pid }, stdio);
    } catch (error) {
      stdio.close();
      throw error;
    }
  }

  /**
   * Runs a command in it, and resolves when that has ended. A status other than 0 is a result, no error.
   *
   * @throws RunError after `timeout` or too much output, with what was printed
   * @example
   * const { stdout } = await container.exec(["wc", "-c"], { input: "hello", timeout: 5000 });
   */
  exec(args: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  exec(args: readonly string[], options: ExecBufferOptions): Promise<ExecResult<Buffer>>;
  async exec(
    args: readonly string[],
    options: ExecOptions | ExecBufferOptions = {},
  ): Promise<ExecResult | ExecResult<Buffer>> {
    return await execIn(this.api, this.id, args, options);
  }

  /**
   * Starts a command in it, whose streams are read and written while it runs.
   *
   * @example
   * const shell = await container.spawn(["sh"], { tty: true });
   * shell.stdout.pipe(process.stdout);
   * shell.stdin.end("exit 3\n");
   * console.log((await shell.wait()).status);
   */
  async spawn(args: readonly string[], options: SpawnOptions = {}): Promise<ContainerProcess> {
    return await spawnIn(this.api, this.id, args, options);
  }

  /** Resolves when it has stopped, at once when it has already. */
  async wait(options: CallOptions = {}): Promise<ContainerExit> {
    checkOptions(options, callChecks);
    const { id, api } = this;
    return exitOf(await api.again((signal) => api.calls.wait({ id }, { signal }), options));
  }

  /**
   * Resolves when it is ready: a port of it is listened on, it has printed a line, answers a request, or is healthy. Looks are farther
   * apart the longer it takes.
   *
   * @throws NotReadyError after `timeout`, or when it has ended before, with what it has printed last
   * @example
   * await container.waitFor([{ port: 5432 }, { log: "ready to accept connections", times: 2 }], { timeout: 30_000 });
   * await container.waitFor({ http: "/health", port: 8080, status: 200 });
   */
  async waitFor(what: WaitFor, options: WaitForOptions = {}): Promise<void> {
    waitForCheck(what, "what");
    checkOptions(options, waitForChecks);
    await waitFor(this, what, options, this.api.daemonHost);
  }

  /** Its stop signal, then SIGKILL after the grace period. Resolves when it has stopped. */
  async stop(options: StopOptions = {}): Promise<ContainerExit> {
    checkOptions(options, stopChecks);
    const { id, api } = this;
    const request = { id, grace: milliseconds(options.grace), signal: signalText(options.stopSignal) };
    return exitOf(await api.again((signal) => api.calls.stop(request, { signal }), options));
  }

  /** Sends a signal; default SIGKILL. */
  async kill(signal: SignalName = "SIGKILL", options: KillOptions = {}): Promise<void> {
    checkOptions(options, killChecks);
    const { all = false, ...call } = options;
    await this.api.calls.kill({ id: this.id, signal: signalText(signal), all }, call);
  }

  async pause(options: CallOptions = {}): Promise<void> {
    await this.api.calls.pause({ id: this.id }, options);
  }

  async resume(options: CallOptions = {}): Promise<void> {
    await this.api.calls.resume({ id: this.id }, options);
  }

  /** Changes its limits, and when it is killed. */
  async update(options: UpdateOptions): Promise<void> {
    checkOptions(options, updateChecks);
    const { limits, lifetime, ttl, restart, ...call } = options;
    const request = {
      id: this.id,
      resources: resourcesOf(limits),
      lifetime: lifetime === undefined ? undefined : lifetimeOf(lifetime),
      ttl: ttl === undefined ? undefined : lifetimeOf(ttl),
      restart: restartMessage(restart),
    };
    await this.api.calls.update(request, call);
  }

  async rename(name: string, options: CallOptions = {}): Promise<void> {
    nameText(name, "name");
    await this.api.calls.rename({ id: this.id, name }, options);
  }

  /**
   * What it has printed, line by line, when it was started without streams of its own. With `follow` it goes on with what is printed until
   * the container has stopped, also while the daemon is away for a moment.
   *
   * @throws ContainerdError: "wrong-state" for one that has no log
   * @example
   * for await (const { stream, line } of container.logs({ follow: true, tail: 10 })) console.log(stream, line);
   */
  logs(options?: LogsOptions): AsyncGenerator<LogLine, void, undefined>;
  logs(options: LogsBufferOptions): AsyncGenerator<LogLine<Buffer>, void, undefined>;
  logs(options: LogsOptions | LogsBufferOptions = {}): AsyncGenerator<LogLine<string & Buffer>, void, undefined> {
    checkLogs(options);
    return logsOf(this.api, this.id, options) as AsyncGenerator<LogLine<string & Buffer>, void, undefined>;
  }

  /**
   * Its streams while it runs, when it was started without streams of its own. Others may be attached as well; `detach` leaves it running.
   *
   * @throws ContainerdError: "wrong-state" for one that has no log, or with `stdin` for one that was made without `openStdin`
   * @example
   * const attachment = await container.attach({ logs: true, stdin: true });
   * attachment.stdout.pipe(process.stdout);
   * attachment.stdin.write("help\n");
   */
  async attach(options: AttachOptions = {}): Promise<Attachment> {
    return await Attachment.to(this.api, this.id, options);
  }

  /** What it uses. @throws ContainerdError when it does not run */
  async stats(options: CallOptions = {}): Promise<ContainerStats> {
    return statsOf(await this.api.calls.stats({ id: this.id }, options));
  }

  /** One sample at once, then one each `interval`; it ends when the container has stopped. */
  watchStats(options: WatchStatsOptions = {}): AsyncGenerator<ContainerStats, void, undefined> {
    return watchStats(this.api, this.id, options);
  }

  /** "created", "running", "paused" or "stopped". */
  async state(options: CallOptions = {}): Promise<ContainerInfo["status"]> {
    return (await this.inspect(options)).status;
  }

  async inspect(options: CallOptions = {}): Promise<ContainerInfo> {
    this.#info = infoOf(await this.api.calls.get({ id: this.id }, options));
    return this.#info;
  }

  /**
   * At which port of the host one of its ports is reached.
   *
   * @param port in the container: 80, or "53/udp"
   * @throws ContainerdError, `isNotFound` when it is not published, or does not run
   * @example
   * const { body } = await fetch(`http://127.0.0.1:${await container.port(80)}/`);
   */
  async port(port: number | `${number}/${"tcp" | "udp"}`, options: CallOptions = {}): Promise<number> {
    checkOptions(options, callChecks);
    return publishedPort(await this.inspect(options), port);
  }

  /**
   * What a container with `network: { egress }` has tried to reach while it has run this time: names that it has asked for, and addresses
   * that it was refused. Each is there once, the last one first.
   *
   * @throws ContainerdError "wrong-state" of a container without `egress`
   * @example
   * const { attempts } = await container.egress();
   * for (const { name, address, port } of attempts.filter(({ allowed }) => !allowed)) console.log(name || `${address}:${port}`);
   */
  async egress(options: CallOptions = {}): Promise<EgressReport> {
    checkOptions(options, callChecks);
    return egressReport(await this.api.networks.egress({ container: this.id }, options));
  }

  /**
   * Puts files into a directory, which is made where it is not there, whether the container runs or not. No link in the container leads out
   * of it. Each file is there as a whole or not at all.
   *
   * @param path absolute, in the container
   * @param files contents by paths below the directory, which belong to the container's user; or a tar archive
   * @throws ContainerdError: "wrong-state" for one that can't be written to, "refused" when the archive is none, or a file would come in
   *   the place of a directory
   * @example
   * await container.putFiles("/srv", { "main.py": "print(1)", "run.sh": { data: "#!/bin/sh\n", mode: 0o755 } });
   */
  async putFiles(path: string, files: NewFiles | ArchiveSource, options?: PutFilesOptions): Promise<void> {
    await putFiles(this.api, this.id, path, files, options);
  }

  /** Puts one file, as {@link putFiles}. */
  async writeFile(path: string, data: FileContent, options?: WriteFileOptions): Promise<void> {
    await writeFile(this.api, this.id, path, data, options);
  }

  /**
   * What is at a path as a tar archive, whose names begin with the path's last part.
   *
   * @throws ContainerdError, `isNotFound` when there is nothing
   */
  async getFiles(path: string, options?: GetFilesOptions): Promise<Readable> {
    return await getFiles(this.api, this.id, path, options);
  }

  /**
   * What is in one file; links are followed, within the container.
   *
   * @throws ContainerdError as {@link getFiles}, TypeError for what is no file, RangeError for one that is larger than `maxSize`
   */
  readFile(path: string, options?: ReadFileOptions): Promise<string>;
  readFile(path: string, options: ReadFileBufferOptions): Promise<Buffer>;
  async readFile(path: string, options?: ReadFileOptions | ReadFileBufferOptions): Promise<string | Buffer> {
    return await readFile(this.api, this.id, path, options);
  }

  /** What is at a path, of a link the link. @throws ContainerdError, `isNotFound` when there is nothing */
  async stat(path: string, options: CallOptions = {}): Promise<FileInfo> {
    return await statFile(this.api, this.id, path, options);
  }

  /** What it has changed in its own layer; nothing where it has none. */
  async diff(options: CallOptions = {}): Promise<FileChange[]> {
    return await diffOf(this.api, this.id, options);
  }

  /**
   * Makes an image of its own layer, on the image that it was made of; its command and environment are the container's. One that runs is
   * paused until its layer is read.
   *
   * @param image its name; without one only the digest leads to it
   * @returns the digest of its manifest
   * @throws ContainerdError: "wrong-state" for one without a layer of its own, "refused" for `changes` that make no sense
   */
  async commit(image?: string, options: CommitOptions = {}): Promise<string> {
    return await commitOf(this.api, this.id, image, options);
  }

  /**
   * Makes another container, which does not run yet, with this one's config over a copy of its layer: the same files, from which on each
   * goes its own way. One that runs is paused while it is copied. `await using` kills and removes the new one.
   *
   * @throws ContainerdError: "wrong-state" for one without a layer of its own, or whose image's name is another's by now
   * @example
   * await using copy = await container.fork({ labels: { attempt: "2" } });
   * await copy.start();
   */
  async fork(options: ForkOptions = {}): Promise<CreatedContainer> {
    const request = forkRequest(this.id, options);
    await fork(this.api, request, options);
    return new CreatedContainer(this.api, request.create.id);
  }

  /**
   * Saves its processes, with CRIU, which has to be installed on the daemon's machine; it ends with that, or goes on. Its files are not
   * saved: they stay in its layer.
   *
   * @param to a name, by which it goes with the container; or the absolute path of a directory that is made, where nobody else may write
   * @throws ContainerdError: "id-in-use" when it is there already, "wrong-state" for one that does not run, "internal" with what CRIU says
   * @example
   * await container.checkpoint("before");
   * await container.start({ checkpoint: "before" });
   */
  async checkpoint(to: string, options: CheckpointOptions = {}): Promise<void> {
    nameText(to, "to");
    checkOptions(options, checkpointChecks);
    const { leaveRunning = false, tcpEstablished = false, unixSockets = false, ...call } = options;
    const request = { id: this.id, ref: to, leaveRunning, tcpEstablished, unixSockets };
    await this.api.calls.checkpoint(request, call);
  }

  /** Takes it away, with its layer. One that is gone already is no error. @throws ContainerdError when it runs, without `force` */
  async remove(options: RemoveOptions = {}): Promise<void> {
    checkOptions(options, removeChecks);
    const { id, api } = this;
    const { force = false, ...call } = options;
    try {
      await api.again((signal) => api.calls.remove({ id, force }, { signal }), call);
    } catch (error) {
      if (!(error instanceof ContainerdError && error.isNotFound)) throw error;
    }
    this.#process?.detach();
  }

  toJSON(): Pick<ContainerInfo, "id"> & Partial<ContainerInfo> {
    return { ...this.#info, id: this.id };
  }

  get #attached(): ContainerProcess {
    if (this.#process) return this.#process;
    throw new Error(`container "${this.id}" was not started with stdio by this object`);
  }
}

/** The same start, when it is asked for again since nobody has answered, starts nothing twice. */
function newStartId(): string {
  return randomBytes(16).toString("hex");
}

/** A container that this program has made: `await using` kills and removes it. */
export class CreatedContainer extends Container implements AsyncDisposable {
  /** What the daemon had to say about its options. */
  readonly warnings: readonly string[];

  /** @internal */
  constructor(api: EngineApi, id: string, warnings: readonly string[] = []) {
    super(api, id);
    this.warnings = warnings;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.remove({ force: true });
  }
}
