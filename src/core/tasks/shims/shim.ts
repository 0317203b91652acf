import { closeSync, existsSync, readFileSync, statfsSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import {
  ABANDONED_FILE,
  EXIT_STATUS_FILE,
  RESERVED_EXIT_STATUS_FILE,
} from "../../../contract/shim/process-directory.js";
import { CHANNEL_VARIABLE, type DaemonMessage, type ShimMessage } from "../../../contract/shim/start-channel.js";
import { Child, devNull } from "../../../system/linux/child.js";
import { killDescendants } from "../../../system/linux/descendants.js";
import { EPOLLIN, epoll } from "../../../system/linux/epoll.js";
import { killProcessGroup } from "../../../system/linux/pidfd.js";
import { makeSeqPacketPair, receivePacket, sendPacket } from "../../../system/linux/seqpacket.js";
import { findProgram } from "../../../system/linux/spawn.js";
import { abortable } from "../../failure/abortable.js";
import { Failure, isFailure } from "../../failure/failure.js";
import { INIT } from "../process.js";
import { childEnvironment, type ExecFifo, type OciRuntime } from "../runtime/oci-runtime.js";
import { readPidFile } from "../state-directory/pid-file.js";
import { runtimeLogError, shimLogError } from "../state-directory/start-logs.js";
import { findShims, recordShim } from "./shim-process.js";
import { INTERPRETER, type ShimChild, type ShimSpawner, SpawnerDied } from "./shim-spawner.js";
import { startFailed } from "./start-failed.js";

/** Which shim the daemon starts. */
export interface ShimProgram {
  /** As it was asked for and as it is kept in state.json. */
  name: string;
  /** Forks it when it is this project's, which takes part in the start (docs/shim.md). */
  spawner: ShimSpawner | undefined;
  /** To be taken when this one is not there any more: the program of a daemon that was in another directory. */
  substitute?: ShimProgram;
}

/** A shim from its launch to the end of the start. Each wait ends with an error when the shim ends or when `signal` is aborted. */
export interface Shim {
  readonly child: ShimChild;
  /** Resolves with the process's host pid once the runtime has created it. */
  created(signal: AbortSignal): Promise<number>;
  /** A created container stays, whatever becomes of this daemon. */
  keep(): void;
  /** Lets a created container's process run. */
  start(signal: AbortSignal): Promise<void>;
  /** Calls the start off: a shim that knows the word cleans up by itself and ends. */
  cancel(): void;
  /** The start is over: what was needed only for it is closed. The shim goes on. */
  release(): void;
  /** Resolves when the shim has closed the start channel: for it the start is over, and it does not read {@link cancel} any more. */
  readonly channelClosed: Promise<void>;
}

interface LaunchOptions {
  program: ShimProgram;
  /** The process directory: the shim's working directory. */
  directory: string;
  containerId: string;
  bundle: string;
  runtime: OciRuntime;
  /** Where the container waits for its start, if that may happen without the runtime. */
  execFifo?: ExecFifo | undefined;
  /** Ends the attempt. */
  signal: AbortSignal;
}

/** @throws the signal's reason, Failure (not-found) when the shim is not installed, or a system error */
export async function launchShim(options: LaunchOptions): Promise<Shim> {
  const { name, spawner, substitute } = options.program;
  const path = findProgram(name);
  if (path === undefined && substitute !== undefined) return await launchShim({ ...options, program: substitute });
  if (path === undefined) throw new Failure("not-found", "shim-not-found", { shim: name });
  const shim =
    spawner === undefined ? await ForeignShim.launch(options, path) : await OwnShim.launch(options, path, spawner);
  recordShim(options.directory, shim.child);
  return shim;
}

/** A disk without room, or without inodes: then a shim can't write down why it has ended either. */
function isFull(directory: string): boolean {
  const { bavail, ffree, files } = statfsSync(directory);
  return bavail === 0 || (files > 0 && ffree === 0);
}

/** Why a shim has ended before the start was finished, from its log and the runtime's. */
async function startFailure(directory: string): Promise<Error> {
  const shimError = await shimLogError(directory);
  if (shimError?.endsWith("no space left on device")) return new Failure("resource-exhausted", "disk-full", {});
  if (shimError !== undefined) return new Failure("internal", "shim-error", { text: shimError });
  const runtimeError = await runtimeLogError(directory);
  if (runtimeError === undefined) {
    return isFull(directory)
      ? new Failure("resource-exhausted", "disk-full", {})
      : new Failure("internal", "start-unexplained", {});
  }
  const call = basename(directory) === INIT ? "create" : "exec";
  return new Failure("internal", "runtime-error", { call, text: runtimeError });
}

/** In ms: how often what a shim has done is looked for; only where it does not tell. */
const INTERVAL = 2;
/** In ms: how long a shim that was forked by a spawner that has died may take to end once it was killed. */
const ORPHAN_TIMEOUT = 5_000;

/** How many starts with our own shim are under way. */
let startsUnderWay = 0;

/** This project's shim, which tells over the start channel how far it is. */
class OwnShim implements Shim {
  readonly child: ShimChild;
  readonly #directory: string;
  readonly #execFifo: ExecFifo | undefined;
  #channel: number | undefined;
  #isUnderWay = true;
  readonly #received: ShimMessage[] = [];
  #wake: () => void = () => {};
  readonly channelClosed: Promise<void>;
  #hungUp: () => void = () => {};

  static async launch(options: LaunchOptions, path: string, spawner: ShimSpawner): Promise<OwnShim> {
    startsUnderWay++;
    try {
      const forked = await OwnShim.#launch(options, (channel) => fork(options, spawner, channel));
      return forked ?? (await OwnShim.#launch(options, (channel) => execute(options, path, channel)))!;
    } catch (error) {
      startsUnderWay--;
      throw error;
    }
  }

  /** Undefined when there is no such shim. */
  static async #launch<T extends ShimChild | undefined>(
    options: LaunchOptions,
    makeChild: (channel: number) => Promise<T>,
  ): Promise<OwnShim | undefined> {
    const [ours, theirs] = makeSeqPacketPair();
    let child: T | undefined;
    let error: unknown;
    try {
      child = await makeChild(theirs);
      if (child !== undefined) return new OwnShim(options, child, ours);
    } catch (thrown) {
      child?.kill();
      error = thrown;
    } finally {
      closeSync(theirs);
    }
    if (error instanceof SpawnerDied) await endForked(options, ours);
    closeSync(ours);
    options.signal.throwIfAborted();
    // A shim that was forked but had not called the runtime is gone: another one can be launched.
    if (error === undefined || (error instanceof SpawnerDied && !hasBegun(options.directory))) return undefined;
    throw error;
  }

  private constructor(options: LaunchOptions, child: ShimChild, channel: number) {
    this.child = child;
    this.#directory = options.directory;
    this.#execFifo = options.execFifo;
    this.#channel = channel;
    this.channelClosed = new Promise((resolve) => {
      this.#hungUp = resolve;
    });
    epoll.add(channel, EPOLLIN, () => this.#receive(channel));
  }

  async created(signal: AbortSignal): Promise<number> {
    const message = await this.#next(signal);
    const pid = /^created (\d+)$/.exec(message ?? "")?.[1];
    if (pid !== undefined) return Number(pid);
    if (message !== undefined)
      throw new Failure("internal", "shim-error", { text: `unexpected message ${JSON.stringify(message)}` });
    await abortable(this.child.exited, signal);
    throw await startFailure(this.#directory);
  }

  async start(signal: AbortSignal): Promise<void> {
    const fifo = this.#execFifo;
    this.#send(fifo === undefined ? "start" : `start ${fifo.access} ${fifo.path}`);
    const message = await this.#next(signal);
    if (message === "started") return;
    if (message?.startsWith("failed ")) throw startFailed(message);
    throw new Failure("internal", "shim-ended", {});
  }

  keep(): void {
    this.#send("keep");
    this.#endStart();
  }

  cancel(): void {
    this.#send("cancel");
  }

  #send(message: DaemonMessage): void {
    if (this.#channel === undefined) return;
    try {
      sendPacket(this.#channel, message);
    } catch {
      // It has ended: the next message says so.
    }
  }

  release(): void {
    if (this.#channel === undefined) return;
    epoll.remove(this.#channel);
    closeSync(this.#channel);
    this.#channel = undefined;
    this.#endStart();
    this.#wake();
  }

  #endStart(): void {
    if (this.#isUnderWay) startsUnderWay--;
    this.#isUnderWay = false;
  }

  #receive(channel: number): void {
    for (;;) {
      const message = receivePacket(channel) as ShimMessage | "" | undefined;
      if (message === undefined) break;
      if (message === "") {
        this.release();
        this.#hungUp();
        break;
      }
      this.#received.push(message);
    }
    this.#wake();
  }

  /** The next message; undefined once the channel is closed. */
  async #next(signal: AbortSignal): Promise<ShimMessage | undefined> {
    for (;;) {
      signal.throwIfAborted();
      const message = this.#received.shift();
      if (message !== undefined || this.#channel === undefined) return message;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    }
  }
}

/** Undefined when the spawner is not to be had. */
function fork(options: LaunchOptions, spawner: ShimSpawner, channel: number): Promise<ShimChild | undefined> {
  const { directory, containerId, bundle, runtime, signal } = options;
  const environment = runtime.environment(startsUnderWay);
  return spawner.launch({ directory, containerId, bundle, runtime: runtime.name, environment, channel }, signal);
}

/** Kills the shim that a spawner may have forked right before it died. The start channel hangs up once no shim holds it any more. */
async function endForked({ directory, containerId }: LaunchOptions, channel: number): Promise<void> {
  const deadline = performance.now() + ORPHAN_TIMEOUT;
  while (receivePacket(channel) !== "" && performance.now() < deadline) {
    for (const { pid } of findShims(directory, containerId)) {
      await killDescendants(pid);
      killProcessGroup(pid);
    }
    await delay(INTERVAL);
  }
}

/**
 * Whether a shim has called the runtime, or was about to: it reserves the file for the exit status right before, which is renamed when the
 * start is abandoned.
 */
export function hasBegun(directory: string): boolean {
  return [RESERVED_EXIT_STATUS_FILE, ABANDONED_FILE].some((name) => existsSync(join(directory, name)));
}

/** Starts our shim as any other program, where the spawner is not to be had. */
async function execute(options: LaunchOptions, path: string, channel: number): Promise<Child> {
  // Straight to the interpreter: the way through the script's first line and env(1) costs two more execs.
  const interpreter = findProgram(INTERPRETER);
  if (interpreter === undefined) throw new Failure("not-found", "shim-not-found", { shim: INTERPRETER });
  const { directory, containerId, bundle, runtime } = options;
  return await Child.spawn(interpreter, [INTERPRETER, path, containerId, bundle, runtime.name], {
    cwd: directory,
    env: [...childEnvironment, ...runtime.environment(startsUnderWay), `${CHANNEL_VARIABLE}=3`],
    fds: [devNull, devNull, devNull, channel],
  });
}

/** Takes back what protects this daemon from the OOM killer: a shim that is not ours hands it on to its container. */
const RESET_OOM_SCORE = 'echo 0 2>/dev/null >/proc/self/oom_score_adj; exec "$0" "$@"';

function hasOomScore(): boolean {
  return readFileSync("/proc/self/oom_score_adj", "latin1").trim() !== "0";
}

/** A shim that knows the process directory only, such as the Go one. */
class ForeignShim implements Shim {
  readonly child: Child;
  readonly channelClosed = Promise.resolve();
  readonly #directory: string;
  readonly #containerId: string;
  readonly #runtime: OciRuntime;

  static async launch(options: LaunchOptions, path: string): Promise<ForeignShim> {
    const { program, directory, containerId, bundle, runtime } = options;
    const args = [program.name, containerId, bundle, runtime.name];
    const [file, argv] = hasOomScore()
      ? ["/bin/sh", ["sh", "-c", RESET_OOM_SCORE, path, ...args.slice(1)]]
      : [path, args];
    const child = await Child.spawn(file, argv, {
      cwd: directory,
      env: childEnvironment,
      fds: [devNull, devNull, devNull],
    });
    return new ForeignShim(options, child);
  }

  private constructor(options: LaunchOptions, child: Child) {
    this.child = child;
    this.#directory = options.directory;
    this.#containerId = options.containerId;
    this.#runtime = options.runtime;
  }

  async created(signal: AbortSignal): Promise<number> {
    for (;;) {
      // In this order: a shim that wrote the pid and ended at once has started the process all the same.
      const { running } = this.child;
      const pid = readPidFile(this.#directory);
      if (pid !== undefined) return pid;
      if (!running) throw await startFailure(this.#directory);
      signal.throwIfAborted();
      await delay(INTERVAL);
    }
  }

  async start(signal: AbortSignal): Promise<void> {
    const shimExited = new AbortController();
    const exited = new Failure("internal", "shim-ended", {});
    void this.child.exited.then((status) => {
      if (status !== 0) shimExited.abort(exited);
    });
    const either = AbortSignal.any([signal, shimExited.signal]);
    await startWithRuntime(this.#runtime, this.#containerId, this.#directory, either);
  }

  // It knows no channel whose end it could take for the end of the start.
  keep(): void {}

  cancel(): void {}

  release(): void {}
}

/**
 * Lets a created container's process run where no shim does it: another project's, or one that has outlived its daemon.
 * @throws Failure
 */
export async function startWithRuntime(
  runtime: OciRuntime,
  containerId: string,
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  try {
    await runtime.start(containerId, { signal });
  } catch (error) {
    // The process that it has started has ended at once: the shim has deleted the container by then, and with it the FIFO that the runtime
    // removes at the end of its start.
    const missesFifo = isFailure(error, "runtime-failed") && error.facts.output.includes("exec.fifo");
    if (!(missesFifo && existsSync(join(directory, EXIT_STATUS_FILE)))) throw error;
  }
}
