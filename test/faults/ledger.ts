/** The client that resumes: follows the events over all restarts and compares them with what it asked for. */
import type { Api, EventStream, wire } from "../harness/api.js";
import { ContainerLife, type ProcessLife } from "./lives.js";
import type { Work } from "./work.js";

/** Nanoseconds since the epoch. */
const nanoseconds = ({ timestamp }: wire.Event) => timestamp!.seconds * 1_000_000_000n + BigInt(timestamp!.nanos);

export class Ledger {
  /** The present containers, by id. */
  readonly lives = new Map<string, ContainerLife>();
  readonly #violation: (text: string) => void;
  #last: wire.Event["timestamp"];
  #lastTime = 0n;
  /** All that was seen, one line each, to show what came before a violation. */
  readonly #history = new Map<string, string[]>();
  events = 0;
  starts = 0;
  exits = 0;
  execs = 0;
  execExits = 0;
  pauses = 0;
  resumes = 0;

  constructor(violation: (text: string) => void) {
    this.#violation = violation;
  }

  /** Where to go on: the last timestamp seen. */
  get resumeFrom(): { seconds: bigint; nanos: number } {
    return this.#last ?? { seconds: 0n, nanos: 0 };
  }

  /** What was done, as far as the events tell. */
  get work(): Work {
    const { starts, execs, exits, execExits, pauses, resumes } = this;
    return { starts, execs, exits, "exits of execs": execExits, pauses, resumes };
  }

  get running(): ContainerLife[] {
    return [...this.lives.values()].filter((life) => life.running);
  }

  /** Reads a stream to its end, which comes with the daemon's. */
  async follow(stream: EventStream): Promise<void> {
    try {
      for await (const event of stream) this.#take(event);
    } catch {
      // The daemon has died.
    }
  }

  /** Begins anew with no container: what was stored until now is not judged. */
  async begin(api: Api): Promise<void> {
    const missed = api.subscribe({ timestamp: this.resumeFrom, storedOnly: true });
    await missed.ended;
    const last = missed.events.at(-1);
    if (last !== undefined) {
      this.#last = last.timestamp;
      this.#lastTime = nanoseconds(last);
    }
    this.lives.clear();
  }

  /** A request is about to be made: its container's events may come from now on. */
  expect(life: ContainerLife): void {
    this.lives.set(life.id, life);
  }

  /** Everything has come to rest: a start that failed or was never answered has not happened, if no event says so. */
  settle(): void {
    for (const [id, life] of this.lives) {
      life.paused = false;
      if (!life.started) this.lives.delete(id);
      for (const [pid, exec] of life.execs) if (!exec.started) life.execs.delete(pid);
    }
  }

  /** What the events of a container were, for a report. */
  history(id: string): string {
    return (this.#history.get(id) ?? []).slice(-12).join(", ");
  }

  #take(event: wire.Event): void {
    const { id, type, pid, status } = event;
    this.events++;
    const time = nanoseconds(event);
    const lines = this.#history.get(id) ?? [];
    lines.push(`${type}${pid && ` ${pid}`}${type === "exit" ? ` ${status}` : ""}`);
    this.#history.set(id, lines);
    if (time <= this.#lastTime) this.#report(event, "its timestamp is not later than the last one");
    this.#lastTime = time;
    this.#last = event.timestamp;
    const life = this.lives.get(id);
    if (life === undefined) this.#report(event, "there is no such container");
    else if (type === "start-container") this.#start(event, life);
    else if (!life.started) this.#report(event, "before start-container");
    else if (type === "start-process") {
      const exec = life.execs.get(pid);
      if (exec === undefined) this.#report(event, "nobody asked for it");
      else this.#start(event, exec);
    } else if (type === "exit" && pid !== "init") this.#exitExec(event, life);
    else if (type === "exit") this.#exit(event, life);
    else if (type === "pause") this.pauses++;
    else if (type === "resume") this.resumes++;
  }

  #start(event: wire.Event, life: ProcessLife): void {
    if (life.started) this.#report(event, "it had started before");
    life.started = true;
    if (life instanceof ContainerLife) this.starts++;
    else this.execs++;
  }

  #exitExec(event: wire.Event, life: ContainerLife): void {
    const exec = life.execs.get(event.pid);
    if (exec === undefined) {
      this.#report(event, "nobody asked for it");
      return;
    }
    if (!exec.started) this.#report(event, "before its start-process");
    if (exec.exited !== undefined) this.#report(event, "for the second time");
    exec.exited = event.status;
    this.execExits++;
    const ending = life.killed !== "no" || life.ending.status !== undefined || life.shimKilled;
    const why = exec.contradicts(event.status, ending);
    if (why !== undefined) this.#report(event, why);
  }

  #exit(event: wire.Event, life: ContainerLife): void {
    this.exits++;
    for (const exec of life.execs.values()) {
      if (exec.running) this.#report(event, `before that of ${exec.pid}`);
    }
    life.exited = event.status;
    const why = life.contradicts(event.status, false);
    if (why !== undefined) this.#report(event, why);
    // The id is free: an exit that comes twice now meets no container.
    this.lives.delete(life.id);
  }

  #report({ id, type, pid }: wire.Event, what: string): void {
    this.#violation(`event ${type} ${id} ${pid}: ${what} (${this.history(id)})`);
  }
}
