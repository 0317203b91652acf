import { Failure } from "../../../failure/failure.js";
import { type Thread, Threads } from "../../../scheduling/threads.js";
import { type WorkerProgram, workerProgram } from "../../../scheduling/worker-program.js";
import type { Answer, Order, Task } from "./messages.js";

/** In ms: who has done nothing for so long, since a client or a file system is slow, is not counted any more. */
const SLOW = 1_000;
/** In ms: after this a file system that does not answer is given up. */
const SILENT = 60_000;
/** In ms: a worker that has not ended what was called off is given up. */
const GRACE = 5_000;

/** Takes what a worker says of a task. */
export interface Conversation {
  /** Not called for the last answer. */
  answer(answer: Answer): void;
  /** Called once, with what the task has failed with; undefined when it is done. */
  ended(error: Error | undefined): void;
  /** Called once nothing of the worker's touches what the task has named any more: at its end, or much later. */
  released(): void;
}

type Place = Thread<Order, Answer>;
type Places = Threads<Order, Answer>;

/** A task in a worker. */
export class Run {
  readonly #places: Places;
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

  constructor(places: Places, place: Place, task: Task, conversation: Conversation) {
    this.#places = places;
    this.#place = place;
    this.#conversation = conversation;
    this.#slow = setTimeout(() => this.#leave(), SLOW).unref();
    this.#silent = setTimeout(() => this.#giveUp(silence()), SILENT).unref();
    place.begin({ task, stop: this.#stop }, (answer) => this.#heard(answer));
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
      this.#places.enter();
    }
    this.#slow.refresh();
    this.#silent.refresh();
  }

  #leave(): void {
    if (!this.#isCounted || this.#isOver) return;
    this.#isCounted = false;
    this.isStuck = this.#isBusy;
    this.#places.leave();
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
    if (!isGone) this.#places.giveBack(this.#place);
  }

  #finish(error: Error | undefined): void {
    this.#isOver = true;
    clearTimeout(this.#slow);
    clearTimeout(this.#silent);
    clearTimeout(this.#grace);
    if (this.#isCounted) this.#places.leave();
    this.#conversation.ended(error);
  }
}

/** The threads, and whose turn it is. */
export class Pool {
  // Most descriptors are opened by system calls of our own.
  readonly #threads: Places = new Threads({ trackUnmanagedFds: false });

  /** Begins a task as soon as there is a place for it. @throws the signal's reason */
  async run(task: Task, conversation: Conversation, signal: AbortSignal): Promise<Run> {
    return new Run(this.#threads, await this.#threads.take(program(), signal), task, conversation);
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
