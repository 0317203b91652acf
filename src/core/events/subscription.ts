import type { Event } from "./event.js";

/** How many events may wait for a subscriber that does not read; as many as containerd 0.2 keeps for it. */
const UNREAD_LIMIT = 2048;

/** How many that were taken are let go of at once: one by one would move all that wait each time. */
const LET_GO = 256;

export interface SubscriptionOptions<Wanted extends Event> {
  /** What the subscriber has asked for, for the log. */
  about: Readonly<Record<string, string>>;
  /** Which events it wants. */
  wants: (event: Event) => event is Wanted;
  /** Stored events that come first. They don't count against the limit: they are the log's anyway. */
  replay?: readonly Event[];
  /** Called once when the subscriber has fallen too far behind: it gets nothing more. */
  onOverflow: () => void;
}

/** One reader of the events: what it has not taken yet waits here, up to a limit. */
export class Subscription<Wanted extends Event> implements AsyncIterableIterator<Wanted> {
  readonly about: Readonly<Record<string, string>>;
  readonly #wants: (event: Event) => event is Wanted;
  readonly #onOverflow: () => void;
  #events: Wanted[];
  /** How many of these were taken. */
  #taken = 0;
  /** How many of those that wait are stored ones. */
  #replaying: number;
  #ended = false;
  /** Who waits for the next one. */
  #waiting: ((result: IteratorResult<Wanted>) => void) | undefined;

  constructor({ wants, about, replay = [], onOverflow }: SubscriptionOptions<Wanted>) {
    this.#wants = wants;
    this.about = about;
    this.#onOverflow = onOverflow;
    this.#events = replay.filter(wants);
    this.#replaying = this.#events.length;
  }

  /** To one who wants nothing of what happens from now on. */
  static ofStored<Wanted extends Event>(options: SubscriptionOptions<Wanted>): Subscription<Wanted> {
    const subscription = new Subscription(options);
    subscription.end();
    return subscription;
  }

  /** An event that happens now. Returns false when the subscriber has to go. */
  push(event: Event): boolean {
    if (this.#ended) return false;
    if (!this.#wants(event)) return true;
    const waiting = this.#waiting;
    if (waiting !== undefined) {
      this.#waiting = undefined;
      waiting({ done: false, value: event });
      return true;
    }
    this.#events.push(event);
    if (this.unread - this.#replaying <= UNREAD_LIMIT) return true;
    this.#events = [];
    this.#taken = 0;
    this.end();
    this.#onOverflow();
    return false;
  }

  /** How many events wait to be taken. */
  get unread(): number {
    return this.#events.length - this.#taken;
  }

  /** Nothing more comes: what waits is still handed over. */
  end(): void {
    this.#ended = true;
    this.#waiting?.({ done: true, value: undefined });
    this.#waiting = undefined;
  }

  /** The oldest event that waits, or the next that comes; for one caller at a time. */
  next(): Promise<IteratorResult<Wanted>> {
    return new Promise((resolve) => {
      if (this.unread > 0) resolve({ done: false, value: this.#take() });
      else if (this.#ended) resolve({ done: true, value: undefined });
      else this.#waiting = resolve;
    });
  }

  #take(): Wanted {
    const event = this.#events[this.#taken++]!;
    if (this.#replaying > 0) this.#replaying--;
    if (this.#taken === this.#events.length || this.#taken === LET_GO) {
      this.#events.splice(0, this.#taken);
      this.#taken = 0;
    }
    return event;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
