import { closeSync } from "node:fs";
import { Child, devNull } from "../linux/child.js";
import { EPOLLIN, type Epoll } from "../linux/epoll.js";
import { hasCode } from "../linux/libc.js";
import { type ExitStatus, openPidFd, signalPidFd } from "../linux/pidfd.js";
import { readProcStat, startTimeOf } from "../linux/proc-stat.js";
import { makeSeqPacketPair, receivePacket, sendPacket, sendPacketWithDescriptors } from "../linux/seqpacket.js";
import { findProgram } from "../linux/spawn.js";
import { childEnvironment } from "./oci-runtime.js";
import { RuntimeCopies, type RuntimeCopy } from "./runtime-copies.js";

/** What runs our own shim. */
export const INTERPRETER = "luajit";

/** A shim's process, whoever its parent is. */
export interface ShimChild {
  readonly pid: number;
  /** Field 22 of its /proc/<pid>/stat; "" when it was gone before that could be read. */
  readonly startTime: string;
  /** Resolves once it has ended; 255 when nobody could tell how. Never rejects. */
  readonly exited: Promise<ExitStatus>;
  readonly running: boolean;
  /** Kills it with SIGKILL, and what it has started in its process group. Nothing happens when it has ended. */
  kill(): void;
}

export interface ShimLaunch {
  /** The process directory: the shim's working directory. */
  directory: string;
  containerId: string;
  bundle: string;
  runtime: string;
  /** "NAME=value" strings, besides those that every child of ours gets. */
  environment: readonly string[];
  /** The shim's end of the start channel; stays the caller's. */
  channel: number;
}

/** The spawner has died while it was at it: a shim may have been forked, its pid never told. */
export class SpawnerDied extends Error {
  constructor() {
    super("the shim spawner has died");
  }
}

/** How many launches may be under way at the spawner: what they take must fit into the socket. */
const MAX_PENDING = 16;
/** How many spawners a launch tries that die before they hear of it. */
const MAX_TRIES = 3;
const UNKNOWN_STATUS = 255;
const SIGKILL = 9;

/**
 * Has shims forked by a process of our own shim program (src/shim/spawner.ts): without an exec, without loading, without a thread of this
 * process standing still for it. It is started when it is needed and ends with this daemon, the shims go on.
 */
export class ShimSpawner {
  readonly #epoll: Epoll;
  readonly #program: string;
  readonly #runtimeCopies = new RuntimeCopies();
  #spawner: Promise<SpawnerProcess | undefined> | undefined;
  /** One that never came up does not come up the next time either. */
  #usable = true;

  constructor(epoll: Epoll, program: string) {
    this.#epoll = epoll;
    this.#program = program;
  }

  /** Makes ready what the first launch would have to wait for. */
  async prepare(runtime: string): Promise<void> {
    if ((await this.#running()) !== undefined) await this.#runtimeCopies.of(runtime);
  }

  /**
   * Forks a shim. Undefined when that is not to be had (a kernel that does not let a process set its command line, spawners that die one after
   * the other): it has to be executed then.
   * @throws {@link SpawnerDied}
   */
  async launch(launch: ShimLaunch): Promise<ShimChild | undefined> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const spawner = await this.#running();
      if (spawner === undefined) return undefined;
      const child = await spawner.launch(launch, await this.#runtimeCopies.of(launch.runtime));
      if (child !== undefined) return child;
    }
    return undefined;
  }

  #running(): Promise<SpawnerProcess | undefined> {
    if (!this.#usable) return Promise.resolve(undefined);
    this.#spawner ??= this.#start();
    return this.#spawner;
  }

  async #start(): Promise<SpawnerProcess | undefined> {
    const spawner = await SpawnerProcess.start(this.#epoll, this.#program, () => {
      this.#spawner = undefined;
    });
    if (spawner === undefined) this.#usable = false;
    return spawner;
  }

  close(): void {
    void this.#spawner?.then((spawner) => spawner?.close());
    this.#runtimeCopies.close();
  }
}

interface PendingLaunch {
  launch: ShimLaunch;
  runtimeCopy: RuntimeCopy;
  /** Undefined: the spawner has never heard of it. */
  resolve: (child: ShimChild | undefined) => void;
  reject: (error: Error) => void;
}

class SpawnerProcess {
  readonly #epoll: Epoll;
  #socket: number | undefined;
  pid = 0;
  /** Sent, in the order of their answers. */
  readonly #pending: PendingLaunch[] = [];
  readonly #waiting: PendingLaunch[] = [];
  readonly #shims = new Map<number, ForkedShim>();
  readonly #onGone: () => void;
  #ready: (isReady: boolean) => void = () => {};

  /** Undefined when it does not come up. */
  static async start(epoll: Epoll, program: string, onGone: () => void): Promise<SpawnerProcess | undefined> {
    const interpreter = findProgram(INTERPRETER);
    if (interpreter === undefined) return undefined;
    let ours: number;
    let theirs: number;
    try {
      [ours, theirs] = makeSeqPacketPair();
    } catch {
      return undefined;
    }
    const spawner = new SpawnerProcess(epoll, ours, onGone);
    const ready = new Promise<boolean>((resolve) => {
      spawner.#ready = resolve;
    });
    try {
      // LD_BIND_NOW: what is bound before it forks its shims share.
      const { pid } = await Child.start(epoll, interpreter, [INTERPRETER, program, "--spawner"], {
        cwd: "/",
        env: [...childEnvironment, "CONTAINERD_SHIM_CHANNEL=3", "LD_BIND_NOW=1"],
        fds: [devNull, devNull, devNull, theirs],
      });
      spawner.pid = pid;
    } catch {
      spawner.close();
    } finally {
      closeSync(theirs);
    }
    return (await ready) ? spawner : undefined;
  }

  private constructor(epoll: Epoll, socket: number, onGone: () => void) {
    this.#epoll = epoll;
    this.#socket = socket;
    this.#onGone = onGone;
    epoll.add(socket, EPOLLIN, () => this.#receive(socket));
  }

  /** Undefined when the spawner has died before it was asked. */
  launch(launch: ShimLaunch, runtimeCopy: RuntimeCopy): Promise<ShimChild | undefined> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ launch, runtimeCopy, resolve, reject });
      this.#sendWaiting();
    });
  }

  #sendWaiting(): void {
    while (this.#pending.length < MAX_PENDING) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      const { directory, containerId, bundle, runtime, environment, channel } = next.launch;
      const packet = ["launch", directory, containerId, bundle, runtime, ...environment, ""].join("\0");
      if (this.#socket === undefined) {
        next.resolve(undefined);
        continue;
      }
      try {
        const copy = next.runtimeCopy.descriptor;
        sendPacketWithDescriptors(this.#socket, packet, copy === undefined ? [channel] : [channel, copy]);
        this.#pending.push(next);
      } catch (error) {
        if (hasCode(error, "EPIPE") || hasCode(error, "ECONNRESET")) {
          // It has died, which is about to be read, after its last answers.
          this.#waiting.unshift(next);
          return;
        }
        next.reject(error as Error);
      }
    }
  }

  kill(pid: number): boolean {
    if (this.#socket === undefined) return false;
    try {
      sendPacket(this.#socket, `kill ${pid}`);
      return true;
    } catch {
      return false;
    }
  }

  #receive(socket: number): void {
    while (this.#socket === socket) {
      const message = receivePacket(socket);
      if (message === undefined) return;
      const [word, first, second] = message.split(" ");
      if (word === "ready") this.#ready(true);
      else if (word === "launched") this.#launched(Number(first));
      else if (word === "failed") this.#pending.shift()?.reject(new Error(`fork: ${message.slice("failed ".length)}`));
      else if (word === "exited") this.#exited(Number(first), Number(second));
      else this.close();
      this.#sendWaiting();
    }
  }

  #launched(pid: number): void {
    const { resolve } = this.#pending.shift()!;
    const shim = new ForkedShim(pid, this);
    this.#shims.set(pid, shim);
    resolve(shim);
  }

  #exited(pid: number, status: ExitStatus): void {
    this.#shims.get(pid)?.end(status);
    this.#shims.delete(pid);
  }

  /** Ends it, or follows its end: its shims go on and are watched one by one. */
  close(): void {
    if (this.#socket === undefined) return;
    this.#epoll.remove(this.#socket);
    closeSync(this.#socket);
    this.#socket = undefined;
    this.#onGone();
    this.#ready(false);
    for (const { reject } of this.#pending.splice(0)) reject(new SpawnerDied());
    this.#sendWaiting();
    for (const shim of this.#shims.values()) shim.watch(this.#epoll);
    this.#shims.clear();
  }
}

class ForkedShim implements ShimChild {
  readonly pid: number;
  readonly exited: Promise<ExitStatus>;
  readonly startTime: string;
  readonly #spawner: SpawnerProcess;
  #end: (status: ExitStatus) => void = () => {};
  running = true;
  /** Only when its parent is gone. */
  #pidFd: number | undefined;

  constructor(pid: number, spawner: SpawnerProcess) {
    this.pid = pid;
    const stat = readProcStat(pid);
    // Its parent has not reaped it, so nobody else has its pid.
    this.startTime = stat?.parent === spawner.pid ? stat.startTime : "";
    this.#spawner = spawner;
    this.exited = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  kill(): void {
    if (!this.running || this.#spawner.kill(this.pid)) return;
    try {
      if (this.#pidFd !== undefined) signalPidFd(this.#pidFd, SIGKILL);
    } catch {
      // It has just ended.
    }
  }

  end(status: ExitStatus): void {
    this.running = false;
    this.#end(status);
  }

  /** Its parent is gone: it is seen by a descriptor of its own from now on. */
  watch(epoll: Epoll): void {
    let fd: number;
    try {
      fd = openPidFd(this.pid);
    } catch {
      this.end(UNKNOWN_STATUS);
      return;
    }
    this.#pidFd = fd;
    const over = () => {
      epoll.remove(fd);
      closeSync(fd);
      this.#pidFd = undefined;
      this.end(UNKNOWN_STATUS);
    };
    // After the descriptor was opened: then it is that process that has the start time.
    if (startTimeOf(this.pid) === this.startTime) epoll.add(fd, EPOLLIN, over);
    else over();
  }
}
