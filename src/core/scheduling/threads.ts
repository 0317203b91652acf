import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import type { WorkerProgram } from "./worker-program.js";

/** So many work at the same time: most of it is the kernel's work, or goes on in threads of a library's own. */
const MOST = Math.min(Math.max(availableParallelism(), 2), 4);
/** In ms: a thread that has nothing to do ends after this. */
const IDLE = 10_000;

/** In MB, of the JavaScript heap of a thread; buffers are not in it. One that needs more ends, and nobody else. */
const LIMITS = { maxOldGenerationSizeMb: 192, maxYoungGenerationSizeMb: 2 };

/** A worker thread, which has one task after the other: it is sent orders, and says answers. */
export class Thread<Order, Answer> {
  readonly #worker: Worker;
  #listener: ((answer: Answer | Error) => void) | undefined;
  #isOver = false;
  /** Called when it has ended; forgotten when the next task begins. */
  onExit: () => void = () => {};

  constructor({ text, path }: WorkerProgram, trackUnmanagedFds: boolean) {
    this.#worker = new Worker(text, { eval: true, workerData: path, resourceLimits: LIMITS, trackUnmanagedFds });
    // Nobody's exit waits for it.
    this.#worker.unref();
    this.#worker.on("message", (answer: Answer) => this.#listener?.(answer));
    this.#worker.on("error", (error) => this.#ended(error));
    this.#worker.on("exit", () => {
      this.#ended(new Error("the worker thread has ended"));
      this.onExit();
    });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** @param listener gets its answers until the task is over; an Error: the thread has ended by itself */
  begin(first: Order, listener: (answer: Answer | Error) => void): void {
    this.#listener = listener;
    this.onExit = () => {};
    // Who waits for the task is not to exit before it ends.
    this.#worker.ref();
    this.send(first);
  }

  send(order: Order): void {
    this.#worker.postMessage(order);
  }

  /** The task is over. */
  end(): void {
    this.#listener = undefined;
    this.#worker.unref();
  }

  terminate(): void {
    this.#isOver = true;
    this.end();
    void this.#worker.terminate();
  }

  #ended(error: Error): void {
    this.#isOver = true;
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.(error);
  }
}

/** The threads of one program: started when they are needed, ended when nobody needs them. Tasks begin in the order they came. */
export class Threads<Order, Answer> {
  readonly #idle: { thread: Thread<Order, Answer>; timer: NodeJS.Timeout }[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly #trackUnmanagedFds: boolean;
  readonly #onWaiting: () => void;
  #busy = 0;

  /**
   * @param trackUnmanagedFds whether Node closes what a thread has opened, and warns of what it does not know: not for descriptors that
   *   system calls of our own open
   * @param onWaiting called when one more task waits for its turn
   */
  constructor({ trackUnmanagedFds = true, onWaiting = () => {} } = {}) {
    this.#trackUnmanagedFds = trackUnmanagedFds;
    this.#onWaiting = onWaiting;
  }

  /** Whether tasks wait for their turn. */
  get areWanted(): boolean {
    return this.#waiting.length > 0;
  }

  /**
   * A thread, as soon as it is the caller's turn; {@link leave} ends that, {@link giveBack} hands the thread on.
   *
   * @throws the signal's reason
   */
  async take(program: WorkerProgram, signal: AbortSignal): Promise<Thread<Order, Answer>> {
    signal.throwIfAborted();
    if (this.#busy >= MOST) await this.#wait(signal);
    else this.#busy++;
    const idle = this.#idle.pop();
    clearTimeout(idle?.timer);
    try {
      return idle?.thread ?? new Thread(program, this.#trackUnmanagedFds);
    } catch (error) {
      this.leave();
      throw error;
    }
  }

  async #wait(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const begin = () => {
        signal.removeEventListener("abort", abandon);
        resolve();
      };
      const abandon = () => {
        this.#waiting.splice(this.#waiting.indexOf(begin), 1);
        reject(signal.reason);
      };
      signal.addEventListener("abort", abandon, { once: true });
      this.#waiting.push(begin);
      this.#onWaiting();
    });
  }

  /** Somebody who has left goes on, whether it is their turn or not. */
  enter(): void {
    this.#busy++;
  }

  /** Somebody's turn is over, or others may have it meanwhile. */
  leave(): void {
    const next = this.#busy <= MOST ? this.#waiting.shift() : undefined;
    if (next === undefined) this.#busy--;
    else next();
  }

  giveBack(thread: Thread<Order, Answer>): void {
    if (thread.isOver) return;
    const timer = setTimeout(() => {
      const index = this.#idle.findIndex((idle) => idle.thread === thread);
      this.#idle.splice(index, 1);
      thread.terminate();
    }, IDLE).unref();
    this.#idle.push({ thread, timer });
  }
}
