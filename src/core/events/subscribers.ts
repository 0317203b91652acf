import type { Event } from "./event.js";

/** How many events may wait for a subscriber that does not read; as many as the original keeps for it. */
const BACKLOG_LIMIT = 2048;

/** Which events a subscriber wants. */
export interface EventFilter {
  namespace: string;
  /** The id of one container; "" for all. */
  object: string;
}

/** Takes an event; false when it wants no more until {@link Subscription.resume}. */
export type EventSink<E extends Event> = (event: E) => boolean;

/** One reader of the events: what it does not take yet waits here, up to a limit. */
export class Subscription<E extends Event> {
  readonly #sink: EventSink<E>;
  readonly #onOverflow: () => void;
  /** Called when nothing more comes. */
  readonly end: () => void;
  readonly filter: EventFilter;
  #backlog: E[];
  #replaying: number;
  #blocked = false;

  /**
   * @param replay stored events that come first. They don't count against the limit: they are the log's anyway
   * @param onOverflow called once when the subscriber has fallen too far behind; it gets nothing more and may resume by timestamp
   * @param end called when nothing more comes since the daemon stops
   */
  constructor(filter: EventFilter, replay: E[], sink: EventSink<E>, onOverflow: () => void, end: () => void) {
    this.filter = filter;
    this.#sink = sink;
    this.#onOverflow = onOverflow;
    this.end = end;
    this.#backlog = replay.filter((event) => this.#wants(event));
    this.#replaying = this.#backlog.length;
  }

  /** An event that happens now. Returns false when the subscriber has to go. */
  push(event: E): boolean {
    if (!this.#wants(event)) return true;
    this.#backlog.push(event);
    this.resume();
    if (this.#backlog.length - this.#replaying <= BACKLOG_LIMIT) return true;
    this.#backlog = [];
    this.#onOverflow();
    return false;
  }

  /** Hands over what waits, as far as the sink takes it; `drained` says that it may take again. */
  resume(drained = false): void {
    if (drained) this.#blocked = false;
    let taken = 0;
    while (!this.#blocked && taken < this.#backlog.length) this.#blocked = !this.#sink(this.#backlog[taken++]!);
    this.#backlog.splice(0, taken);
    this.#replaying = Math.max(0, this.#replaying - taken);
  }

  /** Events that the sink has not taken yet. */
  get waiting(): number {
    return this.#backlog.length;
  }

  /** True when everything has been handed over. */
  get empty(): boolean {
    return this.#backlog.length === 0;
  }

  #wants({ namespace, object }: E): boolean {
    const { filter } = this;
    return namespace === filter.namespace && (filter.object === "" || object === filter.object);
  }
}

/** All who follow the events. */
export class Subscribers<E extends Event> {
  readonly #subscriptions = new Set<Subscription<E>>();
  #closed = false;

  get size(): number {
    return this.#subscriptions.size;
  }

  /** What each subscriber wants, and the number of events that it has not taken yet. */
  backlogs(): { filter: EventFilter; waiting: number }[] {
    return [...this.#subscriptions].map(({ filter, waiting }) => ({ filter, waiting }));
  }

  /** Follows what happens from now on; when the daemon is stopping already, that is nothing. */
  add(subscription: Subscription<E>): void {
    if (this.#closed) subscription.end();
    else this.#subscriptions.add(subscription);
  }

  /** The daemon stops: tells all subscribers that nothing more comes. */
  close(): void {
    this.#closed = true;
    for (const subscription of this.#subscriptions) subscription.end();
    this.#subscriptions.clear();
  }

  remove(subscription: Subscription<E>): void {
    this.#subscriptions.delete(subscription);
  }

  /** Never throws: one that can't be sent to is let go of, and the others get the event. */
  publish(event: E): void {
    for (const subscription of this.#subscriptions) {
      let goesOn = false;
      try {
        goesOn = subscription.push(event);
      } catch {
        // Its connection is broken: it may resume by timestamp.
      }
      if (!goesOn) this.#subscriptions.delete(subscription);
    }
  }
}
