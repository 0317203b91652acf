import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { Failure } from "../../failure/failure.js";
import { type WorkerProgram, workerProgram } from "../../scheduling/worker-program.js";
import type { Answer, Order, Task } from "./messages.js";

/** At the same time; decompression has threads of its own. */
const MOST = Math.min(Math.max(availableParallelism(), 2), 4);
/** In ms: a worker that has nothing to do ends after this. */
const IDLE = 10_000;
/** In ms: after this somebody else may have the place of a task that waits for its blob to arrive. */
const STARVED = 1_000;
/** In ms: a worker that has not ended a task that was called off is given up: a disk that does not answer has it. */
const GRACE = 5_000;

/** In MB, of the JavaScript heap of a worker; tables and buffers are not in it. One that needs more ends, and nobody else. */
const LIMITS = { maxOldGenerationSizeMb: 192, maxYoungGenerationSizeMb: 2 };

/** Takes what a worker says of a task, until that is over. */
interface Conversation {
  answer(answer: Answer): void;
  /** The worker has ended by itself. */
  ended(error: Error): void;
}

class Place {
  readonly #worker: Worker;
  #conversation: Conversation | undefined;
  #isOver = false;

  constructor({ text, path }: WorkerProgram) {
    this.#worker = new Worker(text, { eval: true, workerData: path, resourceLimits: LIMITS });
    // Nobody's exit waits for it.
    this.#worker.unref();
    this.#worker.on("message", (answer: Answer) => this.#conversation?.answer(answer));
    this.#worker.on("error", (error) => this.#end(error));
    this.#worker.on("exit", () => this.#end(new Error("the worker thread has ended")));
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  begin(task: Task, stop: Int32Array, conversation: Conversation): void {
    this.#conversation = conversation;
    // Who waits for the task is not to exit before it ends.
    this.#worker.ref();
    this.send({ task, stop });
  }

  send(order: Order): void {
    this.#worker.postMessage(order);
  }

  end(): void {
    this.#conversation = undefined;
    this.#worker.unref();
  }

  async terminate(): Promise<void> {
    this.#isOver = true;
    this.end();
    await this.#worker.terminate();
  }

  #end(error: Error): void {
    this.#isOver = true;
    const conversation = this.#conversation;
    this.#conversation = undefined;
    conversation?.ended(error);
  }
}

/** A task in a worker. */
export class Run {
  readonly #pool: Pool;
  readonly #place: Place;
  readonly #stop = new Int32Array(new SharedArrayBuffer(4));
  #isParked = false;
  #isOver = false;
  #starved: NodeJS.Timeout | undefined;
  #grace: NodeJS.Timeout | undefined;

  constructor(pool: Pool, place: Place, task: Task, conversation: Conversation) {
    this.#pool = pool;
    this.#place = place;
    place.begin(task, this.#stop, conversation);
  }

  send(order: Order): void {
    if (!this.#isOver) this.#place.send(order);
  }

  /** It waits for somebody who may wait for others: these can have its place. */
  park(): void {
    if (this.#isParked) return;
    this.#isParked = true;
    this.#pool.leave();
  }

  unpark(): void {
    if (!this.#isParked) return;
    this.#isParked = false;
    this.#pool.enter();
  }

  /** It waits for its blob, or does so no more. `onDispossessed` is called when others want its place. */
  starve(isStarving: boolean, onDispossessed: () => void = () => {}): void {
    clearTimeout(this.#starved);
    this.#pool.starving.delete(this);
    if (!isStarving) return;
    this.#starved = setTimeout(() => {
      this.#pool.starving.set(this, onDispossessed);
      this.#pool.look();
    }, STARVED).unref();
  }

  /** Calls it off: it answers soon; when it does not, `onSilent` is called, and its worker is given up. */
  cancel(onSilent: () => void): void {
    if (Atomics.exchange(this.#stop, 0, 1) !== 0 || this.#isOver) return;
    // Whatever it waits for, it looks now.
    this.send({ size: 0, whole: false });
    this.send({ below: undefined });
    this.send({ more: true });
    this.#grace = setTimeout(() => {
      void this.#place.terminate();
      onSilent();
    }, GRACE);
  }

  /** @param isLarge its worker has used much memory, which only goes with it */
  over(isLarge = false): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#grace);
    clearTimeout(this.#starved);
    this.#pool.starving.delete(this);
    if (!this.#isParked) this.#pool.leave();
    if (isLarge && !this.#place.isOver) void this.#place.terminate();
    else this.#place.end();
    this.#pool.release(this.#place);
  }
}

function programFor(task: Task): WorkerProgram {
  try {
    return workerProgram("layer-worker");
  } catch (error) {
    const layer = task.is === "convert" ? task.layer : task.upper;
    throw new Failure("internal", "layer-unfinished", { layer, why: (error as Error).message });
  }
}

/** Worker threads: started when they are needed, ended when nobody needs them. */
export class Pool {
  readonly #idle: { place: Place; timer: NodeJS.Timeout }[] = [];
  readonly #waiting: (() => void)[] = [];
  /** Those that could give their place to others. */
  readonly starving = new Map<Run, () => void>();
  #busy = 0;

  /**
   * Begins a task as soon as there is a place for it. It is over when {@link Run.over} is called.
   * @throws the signal's reason; Failure internal (layer-unfinished) when the program of the workers can't be read
   */
  async run(task: Task, conversation: Conversation, signal: AbortSignal): Promise<Run> {
    signal.throwIfAborted();
    const program = programFor(task);
    if (this.#busy >= MOST) await this.#wait(signal);
    else this.#busy++;
    const idle = this.#idle.pop();
    clearTimeout(idle?.timer);
    return new Run(this, idle?.place ?? new Place(program), task, conversation);
  }

  async #wait(signal: AbortSignal): Promise<void> {
    let begin: () => void = () => {};
    let called: () => void = () => {};
    try {
      await new Promise<void>((resolve, reject) => {
        begin = resolve;
        called = () => reject(signal.reason);
        signal.addEventListener("abort", called, { once: true });
        this.#waiting.push(begin);
        this.look();
      });
    } catch (error) {
      const index = this.#waiting.indexOf(begin);
      if (index !== -1) this.#waiting.splice(index, 1);
      // The place came at the same moment.
      else this.leave();
      throw error;
    } finally {
      signal.removeEventListener("abort", called);
    }
  }

  /** Has one that starves give its place to one that waits. */
  look(): void {
    if (this.#waiting.length === 0) return;
    const [first] = this.starving;
    if (first === undefined) return;
    const [run, dispossess] = first;
    this.starving.delete(run);
    dispossess();
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
      const index = this.#idle.findIndex((idle) => idle.place === place);
      this.#idle.splice(index, 1);
      void place.terminate();
    }, IDLE).unref();
    this.#idle.push({ place, timer });
  }
}

/** Why a task has ended without a result. */
export function failureOf(answer: Answer): Error {
  if (!("failure" in answer)) return new Error("called off");
  const { kind, what, facts } = answer.failure;
  return new Failure(kind, what, facts as never);
}
