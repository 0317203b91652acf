import { closeSync } from "node:fs";
import { type ExitStatus, UNKNOWN_STATUS } from "../../../contract/shim/exit-status.js";
import { type LaunchRequest, SPAWNER_FLAG } from "../../../contract/shim/spawner.js";
import { CHANNEL_VARIABLE } from "../../../contract/shim/start-channel.js";
import { Child, devNull } from "../../../system/linux/child.js";
import { EPOLLIN, epoll } from "../../../system/linux/epoll.js";
import { hasCode } from "../../../system/linux/libc.js";
import { killProcessGroup, openPidFd, signalPidFd } from "../../../system/linux/pidfd.js";
import { parentOf, readProcStat, startTimeOf } from "../../../system/linux/proc-stat.js";
import { makeSeqPacketPair, receivePacket, sendPacketWithDescriptors } from "../../../system/linux/seqpacket.js";
import { findProgram } from "../../../system/linux/spawn.js";
import { abortable } from "../../failure/abortable.js";
import { childEnvironment } from "../runtime/oci-runtime.js";
import { RuntimeCopies, type RuntimeCopy } from "./runtime-copies.js";

/** What runs our own shim. */
export const INTERPRETER = "luajit";

/** A shim's process, whoever its parent is. */
export interface ShimChild {
  readonly pid: number;
  /** Field 22 of its /proc/<pid>/stat; "" when it was gone before that could be read. */
  readonly startTime: string;
  /** Resolves with its exit status once it has ended; 255 when that is unknown. Never rejects. */
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

/** The spawner has died during a launch: it may have forked a shim without reporting the pid. */
export class SpawnerDied extends Error {
  constructor() {
    super("the shim spawner has died");
  }
}

/** In ms: how long the spawner may take for an answer. One that stands still (stopped, swapped out) is replaced. */
const ANSWER_TIMEOUT = 3_000;
/** In ms: as {@link ANSWER_TIMEOUT}, after a kill, which takes no time, and for a launch that was called off. */
const SHORT_ANSWER_TIMEOUT = 1_000;
/** In ms: how often a shim without a pidfd is polled for its end. */
const WATCH_INTERVAL = 100;
/** How many launches may be under way at the spawner: what they take must fit into the socket. */
const MAX_PENDING = 16;
/** How many spawners a launch tries that die before they have read the request. */
const MAX_TRIES = 3;
const SIGKILL = 9;

/**
 * Has shims forked by a process of our own shim program (src/shim/spawner.ts): without an exec, without loading, without a thread of this
 * process standing still for it. It is started when it is needed and ends with this daemon, the shims go on.
 */
export class ShimSpawner {
  readonly #program: string;
  readonly #runtimeCopies = new RuntimeCopies();
  #spawner: Promise<SpawnerProcess | undefined> | undefined;
  /** One that ends instead of coming up does so the next time too. */
  #usable = true;

  constructor(program: string) {
    this.#program = program;
  }

  /** Makes ready what the first launch would have to wait for. Never rejects. */
  async prepare(runtime: string): Promise<void> {
    if ((await this.#running()) === undefined) return;
    // What is wrong with the runtime is told to those who start something.
    await this.#runtimeCopies.of(runtime).catch(() => {});
  }

  /**
   * Forks a shim. Undefined when that is not to be had (a kernel that does not let a process set its command line, spawners that die one
   * after the other): it has to be executed then.
   * @param signal ends the attempt before the spawner has been asked. After that the answer is waited for, which comes soon: from a spawner
   * that gives none by its end
   * @throws {@link SpawnerDied}, or the signal's reason: no shim was asked for then
   */
  async launch(launch: ShimLaunch, signal: AbortSignal): Promise<ShimChild | undefined> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const spawner = await abortable(this.#running(), signal);
      if (spawner === undefined) return undefined;
      const runtimeCopy = await abortable(this.#runtimeCopies.of(launch.runtime), signal);
      const child = await spawner.launch(launch, runtimeCopy, signal);
      if (child !== undefined) return child;
    }
    return undefined;
  }

  #running(): Promise<SpawnerProcess | undefined> {
    if (!this.#usable) return Promise.resolve(undefined);
    this.#spawner ??= this.#spawn();
    return this.#spawner;
  }

  async #spawn(): Promise<SpawnerProcess | undefined> {
    const onGone = (unusable: boolean) => {
      this.#spawner = undefined;
      if (unusable) this.#usable = false;
    };
    const spawner = await SpawnerProcess.spawn(this.#program, onGone);
    // The next launch tries again: descriptors or memory were lacking.
    if (spawner === undefined) this.#spawner = undefined;
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
  /** Undefined: the spawner has died before it read the request. */
  resolve: (child: ShimChild | undefined) => void;
  reject: (error: Error) => void;
}

class SpawnerProcess {
  #socket: number | undefined;
  /** Sent, in the order of their answers. */
  readonly #pending: PendingLaunch[] = [];
  readonly #waiting: PendingLaunch[] = [];
  readonly #shims = new Map<number, ForkedShim>();
  readonly #onGone: (unusable: boolean) => void;
  #ready: (isReady: boolean) => void = () => {};
  #isReady = false;
  #child: Child | undefined;
  /** How many shims were killed whose exit the spawner has not reported yet. */
  #killed = 0;
  /** Runs while an answer is due. */
  #overdue: NodeJS.Timeout | undefined;
  /** When it is, on performance.now()'s clock. */
  #deadline = Number.POSITIVE_INFINITY;

  /**
   * Undefined when it does not come up.
   * @param onGone is told at its end whether it has ended by itself without having come up
   */
  static async spawn(program: string, onGone: (unusable: boolean) => void): Promise<SpawnerProcess | undefined> {
    const interpreter = findProgram(INTERPRETER);
    if (interpreter === undefined) return undefined;
    let ours: number;
    let theirs: number;
    try {
      [ours, theirs] = makeSeqPacketPair();
    } catch {
      return undefined;
    }
    const spawner = new SpawnerProcess(ours, onGone);
    const ready = new Promise<boolean>((resolve) => {
      spawner.#ready = resolve;
    });
    try {
      // LD_BIND_NOW: what is bound before it forks its shims share.
      spawner.#child = await Child.spawn(interpreter, [INTERPRETER, program, SPAWNER_FLAG], {
        cwd: "/",
        env: [...childEnvironment, `${CHANNEL_VARIABLE}=3`, "LD_BIND_NOW=1"],
        fds: [devNull, devNull, devNull, theirs],
      });
    } catch {
      spawner.close();
    } finally {
      closeSync(theirs);
    }
    if (spawner.#isDue) spawner.#expectAnswer();
    return (await ready) ? spawner : undefined;
  }

  private constructor(socket: number, onGone: (unusable: boolean) => void) {
    this.#socket = socket;
    this.#onGone = onGone;
    epoll.add(socket, EPOLLIN, () => this.#receive(socket));
  }

  /** 0 while it is being started. */
  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Undefined when the spawner has died before it was asked. */
  async launch(launch: ShimLaunch, runtimeCopy: RuntimeCopy, signal: AbortSignal): Promise<ShimChild | undefined> {
    let abort = () => {};
    try {
      return await new Promise((resolve, reject) => {
        const pending: PendingLaunch = { launch, runtimeCopy, resolve, reject };
        abort = () => {
          const index = this.#waiting.indexOf(pending);
          if (index < 0) return this.#expectAnswer(SHORT_ANSWER_TIMEOUT);
          this.#waiting.splice(index, 1);
          reject(signal.reason);
        };
        signal.addEventListener("abort", abort);
        this.#waiting.push(pending);
        this.#sendWaiting();
        if (signal.aborted) abort();
      });
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  /** Kills the spawner unless a message comes within `timeout` ms, or by an earlier deadline that was set before. */
  #expectAnswer(timeout = ANSWER_TIMEOUT): void {
    const deadline = performance.now() + timeout;
    if (deadline >= this.#deadline) return;
    this.#deadline = deadline;
    clearTimeout(this.#overdue);
    this.#overdue = setTimeout(() => {
      // This process may have been stopped itself: the answer may be there, unread.
      if (this.#socket !== undefined && !this.#receive(this.#socket) && this.#isDue) this.close(true);
    }, timeout);
  }

  get #isDue(): boolean {
    return !this.#isReady || this.#pending.length > 0 || this.#killed > 0;
  }

  /** A message has come. Another is expected while launches or exits of killed shims have not been answered. */
  #heard(): void {
    clearTimeout(this.#overdue);
    this.#deadline = Number.POSITIVE_INFINITY;
    if (this.#socket !== undefined && this.#isDue) this.#expectAnswer();
  }

  #sendWaiting(): void {
    while (this.#pending.length < MAX_PENDING) {
      const next = this.#waiting.shift();
      if (next === undefined) return;
      const { directory, containerId, bundle, runtime, environment, channel } = next.launch;
      const variables = environment.map((variable) => `${variable}\0`).join("");
      const packet: LaunchRequest = `launch\0${directory}\0${containerId}\0${bundle}\0${runtime}\0${variables}`;
      if (this.#socket === undefined) {
        next.resolve(undefined);
        continue;
      }
      try {
        const copy = next.runtimeCopy.descriptor;
        sendPacketWithDescriptors(this.#socket, packet, copy === undefined ? [channel] : [channel, copy]);
        this.#pending.push(next);
        this.#expectAnswer();
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

  /**
   * Kills one of its children, of which it tells the end. Not by its hand: it may stand still. False when it is gone, or has none with this
   * pid: one that has ended keeps its pid until it is reaped, and then has another parent or none.
   */
  kill(pid: number): boolean {
    if (this.#socket === undefined || parentOf(pid) !== this.pid) return false;
    killProcessGroup(pid);
    this.#killed++;
    this.#expectAnswer(SHORT_ANSWER_TIMEOUT);
    return true;
  }

  /** Whether there was a message. */
  #receive(socket: number): boolean {
    let isAnswer = false;
    while (this.#socket === socket) {
      const message = receivePacket(socket);
      if (message === undefined) break;
      isAnswer = true;
      const [word, first, second] = message.split(" ");
      if (word === "ready") this.#becomeReady();
      else if (word === "launched") this.#launched(Number(first));
      else if (word === "failed") this.#pending.shift()?.reject(new Error(`fork: ${message.slice("failed ".length)}`));
      else if (word === "exited") this.#exited(Number(first), Number(second));
      else this.close();
      this.#sendWaiting();
      this.#heard();
    }
    return isAnswer;
  }

  #becomeReady(): void {
    this.#isReady = true;
    this.#ready(true);
  }

  #launched(pid: number): void {
    const pending = this.#pending.shift();
    if (pending === undefined) return;
    const shim = new ForkedShim(pid, this);
    this.#shims.set(pid, shim);
    pending.resolve(shim);
  }

  #exited(pid: number, status: ExitStatus): void {
    const shim = this.#shims.get(pid);
    if (shim?.killed) this.#killed--;
    shim?.end(status);
    this.#shims.delete(pid);
  }

  /**
   * Ends it, or follows its end: its shims go on and are watched one by one.
   * @param late it stands still, perhaps with requests that it would carry out much later: it must not
   */
  close(late = false): void {
    if (this.#socket === undefined) return;
    clearTimeout(this.#overdue);
    if (late) this.#child?.kill();
    epoll.remove(this.#socket);
    closeSync(this.#socket);
    this.#socket = undefined;
    this.#onGone(!this.#isReady && !late && this.#child !== undefined);
    this.#ready(false);
    for (const { reject } of this.#pending.splice(0)) reject(new SpawnerDied());
    this.#sendWaiting();
    for (const shim of this.#shims.values()) shim.watch();
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
  killed = false;
  /** Only when its parent is gone. */
  #pidFd: number | undefined;

  constructor(pid: number, spawner: SpawnerProcess) {
    this.pid = pid;
    const stat = readProcStat(pid);
    // Its parent has not reaped it, so its pid has not been reused.
    this.startTime = stat?.parent === spawner.pid ? stat.startTime : "";
    this.#spawner = spawner;
    this.exited = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  kill(): void {
    if (!this.running || this.killed) return;
    this.killed = this.#spawner.kill(this.pid);
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
  watch(): void {
    let fd: number;
    try {
      fd = openPidFd(this.pid);
    } catch (error) {
      if (hasCode(error, "ESRCH")) this.end(UNKNOWN_STATUS);
      else this.#lookAgain();
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

  /** No descriptor is left: that may change. */
  #lookAgain(): void {
    setTimeout(() => this.watch(), WATCH_INTERVAL).unref();
  }
}
