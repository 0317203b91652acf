import { Failure } from "../../failure/failure.js";
import { type Thread, Threads } from "../../scheduling/threads.js";
import { type WorkerProgram, workerProgram } from "../../scheduling/worker-program.js";
import type { Answer, Order, Task } from "./messages.js";

/** In ms: after this somebody else may have the place of a task that waits for its blob to arrive. */
const STARVED = 1_000;
/** In ms: a worker that has not ended a task that was called off is given up: a disk that does not answer has it. */
const GRACE = 5_000;

/** Takes what a worker says of a task, until that is over. */
interface Conversation {
  answer(answer: Answer): void;
  /** The worker has ended by itself. */
  ended(error: Error): void;
}

type Place = Thread<Order, Answer>;

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
    place.begin({ task, stop: this.#stop }, (answer) =>
      answer instanceof Error ? conversation.ended(answer) : conversation.answer(answer),
    );
  }

  send(order: Order): void {
    if (!this.#isOver) this.#place.send(order);
  }

  /** It waits for somebody who may wait for others: these can have its place. */
  park(): void {
    if (this.#isParked) return;
    this.#isParked = true;
    this.#pool.threads.leave();
  }

  unpark(): void {
    if (!this.#isParked) return;
    this.#isParked = false;
    this.#pool.threads.enter();
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
      this.#place.terminate();
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
    if (!this.#isParked) this.#pool.threads.leave();
    if (isLarge && !this.#place.isOver) this.#place.terminate();
    else this.#place.end();
    this.#pool.threads.giveBack(this.#place);
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

/** The threads, whose turn it is, and who could let others have theirs. */
export class Pool {
  readonly threads: Threads<Order, Answer> = new Threads({ onWaiting: () => this.look() });
  /** Those that could give their place to others. */
  readonly starving = new Map<Run, () => void>();

  /**
   * Begins a task as soon as there is a place for it. It is over when {@link Run.over} is called.
   * @throws the signal's reason; Failure internal (layer-unfinished) when the program of the workers can't be read
   */
  async run(task: Task, conversation: Conversation, signal: AbortSignal): Promise<Run> {
    return new Run(this, await this.threads.take(programFor(task), signal), task, conversation);
  }

  /** Has one that starves give its place to one that waits. */
  look(): void {
    if (!this.threads.areWanted) return;
    const [first] = this.starving;
    if (first === undefined) return;
    const [run, dispossess] = first;
    this.starving.delete(run);
    dispossess();
  }
}

/** Why a task has ended without a result. */
export function failureOf(answer: Answer): Error {
  if (!("failure" in answer)) return new Error("called off");
  const { kind, what, facts } = answer.failure;
  return new Failure(kind, what, facts as never);
}
