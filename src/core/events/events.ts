import type { Event, NewEvent } from "./event.js";
import type { EventLog } from "./event-log.js";
import { Subscribers } from "./subscribers.js";

/** What happens: every event is stored, then sent to all who follow. */
export class Events<E extends Event> {
  /** The log that has what happens in a namespace; "" is that of containerd 0.2's API, which knows none. */
  readonly logOf: (namespace: string) => EventLog<E>;
  readonly subscribers = new Subscribers<E>();
  /** How many of a topic there were since the daemon was started. */
  readonly counts = new Map<E["topic"], number>();
  readonly #onUnwritten: (event: NewEvent<E>, error: unknown) => void;

  /** @param onUnwritten is told of an event that is sent all the same, but could not be written into the log's file yet */
  constructor(logOf: (namespace: string) => EventLog<E>, onUnwritten: (event: NewEvent<E>, error: unknown) => void) {
    this.logOf = logOf;
    this.#onUnwritten = onUnwritten;
  }

  publish(event: NewEvent<E>): void {
    const topic: E["topic"] = event.topic;
    this.counts.set(topic, (this.counts.get(topic) ?? 0) + 1);
    const log = this.logOf(event.namespace);
    this.subscribers.publish(log.append(event, (error) => this.#onUnwritten(event, error)));
  }
}
