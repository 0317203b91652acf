import type { Event, NewEvent } from "./event.js";
import type { EventLog } from "./event-log.js";
import { Subscribers } from "./subscribers.js";

/** What happens: every event is stored, then sent to all who follow. */
export class Events<E extends Event> {
  readonly log: EventLog<E>;
  readonly subscribers = new Subscribers<E>();
  /** How many of a topic there were since the daemon was started. */
  readonly counts = new Map<E["topic"], number>();
  readonly #onUnwritten: (event: NewEvent<E>, error: unknown) => void;

  /** @param onUnwritten is told of an event that is sent all the same, but could not be written into the log's file yet */
  constructor(log: EventLog<E>, onUnwritten: (event: NewEvent<E>, error: unknown) => void) {
    this.log = log;
    this.#onUnwritten = onUnwritten;
  }

  publish(event: NewEvent<E>): void {
    const topic: E["topic"] = event.topic;
    this.counts.set(topic, (this.counts.get(topic) ?? 0) + 1);
    this.subscribers.publish(this.log.append(event, (error) => this.#onUnwritten(event, error)));
  }
}
