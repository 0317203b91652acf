import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { Failure } from "../../../failure/failure.js";
import { type WorkerProgram, workerProgram } from "../../../scheduling/worker-program.js";
import type { Answer, Order, Task } from "./messages.js";

/** So many work at the same time: most of it is the kernel's work. */
const MOST = Math.min(Math.max(availableParallelism(), 2), 4);
/** In ms: a worker that has nothing to do ends after this. */
const IDLE = 10_000;
/** In ms: who has done nothing for so long, since a client or a file system is slow, is not counted any more. */
const SLOW = 1_000;
/** In ms: after this a file system that does not answer is given up. */
const SILENT = 60_000;
/** In ms: a worker that has not ended what was called off is given up. */
const GRACE = 5_000;

/** In MB, of the JavaScript heap of a worker. One that needs more ends, and nobody else. */
const LIMITS = { maxOldGenerationSizeMb: 192, maxYoungGenerationSizeMb: 2 };

/** Takes what a worker says of a task. */
export interface Conversation {
  /** Not called for the last answer. */
  answer(answer: Answer): void;
  /** Called once, with what the task has failed with; undefined when it is done. */
  ended(error: Error | undefined): void;
  /** Called once nothing of the worker's touches what the task has named any more: at its end, or much later. */
  released(): void;
}

/** A worker thread. */
class Place {
  readonly #worker: Worker;
  #listener: ((answer: Answer | Error) => void) | undefined;
  isOver = false;
  /** Called when it has ended. */
  onExit: () => void = () => {};

  constructor() {
    const { text, path } = program();
    // Most descriptors are opened by system calls of our own.
    const options = { eval: true, workerData: path, resourceLimits: LIMITS, trackUnmanagedFds: false };
    this.#worker = new Worker(text, options);
    // Nobody's exit waits for it.
    this.#worker.unref();
    this.#worker.on("message", (answer: Answer) => this.#listener?.(answer));
    this.#worker.on("error", (error) => this.#end(error));
    this.#worker.on("exit", () => {
      this.#end(new Error("the worker thread has ended"));
      this.onExit();
    });
  }

  begin(task: Task, stop: Int32Array, listener: (answer: Answer | Error) => void): void {
    this.#listener = listener;
    this.onExit = () => {};
    // Who waits for the task is not to exit before it ends.
    this.#worker.ref();
    this.send({ task, stop });
  }

  send(order: Order): void {
    this.#worker.postMessage(order);
  }

  end(): void {
    this.#listener = undefined;
    this.#worker.unref();
  }

  terminate(): void {
    this.isOver = true;
    this.end();
    void this.#worker.terminate();
  }

  #end(error: Error): void {
    this.isOver = true;
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.(error);
  }
}

/** A task in a worker. */
export class Run {
  readonly #pool: Pool;
  readonly #place: Place;
  readonly #conversation: Conversation;
  readonly #stop = new Int32Array(new SharedArrayBuffer(4));
  #isOver = false;
  #cancelled: Error | undefined;
  /** Whether a file system has not answered for a while. */
  isStuck = false;
  #isCounted = true;
  /** Whether the worker has something to do, and is not waiting for us. */
  #isBusy = true;
  #slow: NodeJS.Timeout;
  #silent: NodeJS.Timeout;
  #grace: NodeJS.Timeout | undefined;

  constructor(pool: Pool, place: Place, task: Task, conversation: Conversation) {
    this.#pool = pool;
    this.#place = place;
    this.#conversation = conversation;
    this.#slow = setTimeout(() => this.#leave(), SLOW).unref();
    this.#silent = setTimeout(() => this.#giveUp(silence()), SILENT).unref();
    place.begin(task, this.#stop, (answer) => this.#heard(answer));
  }

  send(order: Order): void {
    if (this.#isOver) return;
    this.#place.send(order);
    this.#isBusy = true;
    this.#isAwake();
  }

  /** The worker waits for us now. */
  idle(): void {
    this.#isBusy = false;
  }

  /** Calls it off: it ends soon, with what `error` says. */
  cancel(error: Error): void {
    if (this.#isOver || Atomics.exchange(this.#stop, 0, 1) !== 0) return;
    // Whatever it waits for, it looks now.
    this.#place.send({ more: true });
    this.#place.send({ data: new Uint8Array(0) });
    this.#cancelled = error;
    this.#grace = setTimeout(() => this.#giveUp(error), GRACE);
  }

  #heard(answer: Answer | Error): void {
    this.#isAwake();
    if (answer instanceof Error) {
      const why =
        (answer as NodeJS.ErrnoException).code === "ERR_WORKER_OUT_OF_MEMORY"
          ? "it needs too much memory"
          : answer.message;
      this.#end(new Failure("internal", "container-files", { path: "files", why }), true);
    } else if ("done" in answer) this.#end(undefined);
    else if ("failure" in answer) this.#end(failureOf(answer));
    else if ("calledOff" in answer) this.#end(this.#cancelled ?? new Error("called off"));
    else this.#conversation.answer(answer);
  }

  #isAwake(): void {
    this.isStuck = false;
    if (!this.#isCounted) {
      this.#isCounted = true;
      this.#pool.enter();
    }
    this.#slow.refresh();
    this.#silent.refresh();
  }

  #leave(): void {
    if (!this.#isCounted || this.#isOver) return;
    this.#isCounted = false;
    this.isStuck = this.#isBusy;
    this.#pool.leave();
  }

  #giveUp(error: Error): void {
    if (this.#isOver) return;
    if (!this.#isBusy && this.#cancelled === undefined) {
      // It is the client that is slow.
      this.#silent.refresh();
      return;
    }
    this.#place.terminate();
    const { released } = this.#conversation;
    // What hangs in the kernel may go on with the descriptors that it has.
    this.#place.onExit = () => released.call(this.#conversation);
    this.#finish(error);
  }

  #end(error: Error | undefined, isGone = false): void {
    if (this.#isOver) return;
    this.#place.end();
    this.#finish(error);
    this.#conversation.released();
    if (!isGone) this.#pool.release(this.#place);
  }

  #finish(error: Error | undefined): void {
    this.#isOver = true;
    clearTimeout(this.#slow);
    clearTimeout(this.#silent);
    clearTimeout(this.#grace);
    if (this.#isCounted) this.#pool.leave();
    this.#conversation.ended(error);
  }
}

/** Worker threads: started when they are needed, ended when nobody needs them. */
export class Pool {
  readonly #idle: { place: Place; timer: NodeJS.Timeout }[] = [];
  readonly #waiting: (() => void)[] = [];
  #busy = 0;

  /** Begins a task as soon as there is a place for it. @throws the signal's reason */
  async run(task: Task, conversation: Conversation, signal: AbortSignal): Promise<Run> {
    signal.throwIfAborted();
    if (this.#busy >= MOST) await this.#wait(signal);
    else this.#busy++;
    const idle = this.#idle.pop();
    clearTimeout(idle?.timer);
    try {
      return new Run(this, idle?.place ?? new Place(), task, conversation);
    } catch (error) {
      this.leave();
      throw error;
    }
  }

  async #wait(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const begin = () => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(begin), 1);
        reject(signal.reason);
      };
      signal.addEventListener("abort", leave, { once: true });
      this.#waiting.push(begin);
    });
  }

  /** Somebody who has left needs no place, but takes one. */
  enter(): void {
    this.#busy++;
  }

  leave(): void {
    const next = this.#busy <= MOST ? this.#waiting.shift() : undefined;
    if (next === undefined) this.#busy--;
    else next();
  }

  release(place: Place): void {
    if (place.isOver) return;
    const timer = setTimeout(() => {
      this.#idle.splice(
        this.#idle.findIndex((idle) => idle.place === place),
        1,
      );
      place.terminate();
    }, IDLE).unref();
    this.#idle.push({ place, timer });
  }
}

/** @throws Failure (internal) when it can't be read */
function program(): WorkerProgram {
  try {
    return workerProgram("file-worker");
  } catch (error) {
    throw new Failure("internal", "system", { why: (error as Error).message });
  }
}

function silence(): Failure {
  const why = `its file system has not answered for ${SILENT / 1000} s`;
  return new Failure("deadline-exceeded", "container-files", { path: "a file in the container", why });
}

function failureOf({ failure: { kind, what, facts } }: Extract<Answer, { failure: unknown }>): Failure {
  return new Failure(kind, what, facts as never);
}
