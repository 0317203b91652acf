import type { Event, NewEvent } from "./event.js";
import type { EventBus } from "./event-bus.js";
import type { EventLog } from "./event-log.js";

/** Events that a log is kept of: every one is stored, then sent to all who follow. */
export class Events<E extends Event> {
  /** The log that has what happens in a namespace; "" is that of containerd 0.2's API, which knows none. */
  readonly logOf: (namespace: string) => EventLog<E>;
  /** How many of a topic there were since the daemon was started. */
  readonly counts = new Map<E["topic"], number>();
  readonly #bus: EventBus;
  readonly #onUnwritten: (event: NewEvent<E>, error: unknown) => void;

  /** @param onUnwritten is told of an event that is sent all the same, but could not be written into the log's file yet */
  constructor(
    bus: EventBus,
    logOf: (namespace: string) => EventLog<E>,
    onUnwritten: (event: NewEvent<E>, error: unknown) => void,
  ) {
    this.#bus = bus;
    this.logOf = logOf;
    this.#onUnwritten = onUnwritten;
  }

  publish(event: NewEvent<E>): void {
    const topic: E["topic"] = event.topic;
    this.counts.set(topic, (this.counts.get(topic) ?? 0) + 1);
    const log = this.logOf(event.namespace);
    this.#bus.send(log.append(event, (error) => this.#onUnwritten(event, error)));
  }
}
