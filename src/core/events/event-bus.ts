import { now } from "../../system/linux/clock.js";
import type { Event, NewEvent } from "./event.js";
import { Subscription, type SubscriptionOptions } from "./subscription.js";

type Follower = Pick<Subscription<Event>, "about" | "unread" | "push" | "end">;

/** All that happens, on its way to those who follow it. Nothing is kept here. */
export class EventBus {
  readonly #subscriptions = new Set<Follower>();
  /** Parts of this daemon, which don't count as somebody who follows. */
  readonly #listeners = new Set<(event: Event) => void>();
  #closed = false;

  /** How many follow. */
  get size(): number {
    return this.#subscriptions.size;
  }

  /** What each subscriber wants, and how many events wait for it. */
  backlogs(): Pick<Follower, "about" | "unread">[] {
    return [...this.#subscriptions];
  }

  /**
   * Follows what happens from now on; when the daemon is stopping already, that is nothing.
   * @param signal the subscription ends when it is aborted
   */
  follow<Wanted extends Event>(options: SubscriptionOptions<Wanted>, signal: AbortSignal): Subscription<Wanted> {
    const subscription = new Subscription(options);
    if (this.#closed || signal.aborted) {
      subscription.end();
      return subscription;
    }
    this.#subscriptions.add(subscription);
    const leave = () => {
      this.#subscriptions.delete(subscription);
      subscription.end();
    };
    signal.addEventListener("abort", leave, { once: true });
    return subscription;
  }

  /**
   * Calls `then` for all that happens until the daemon stops, at once: before {@link send} returns.
   * @param then never throws
   */
  listen(then: (event: Event) => void): void {
    this.#listeners.add(then);
  }

  /** The daemon stops: tells all subscribers that nothing more comes. */
  close(): void {
    this.#closed = true;
    for (const subscription of this.#subscriptions) subscription.end();
    this.#subscriptions.clear();
    this.#listeners.clear();
  }

  /** Something has happened just now, of which no log is kept. */
  publish(event: NewEvent<Event>): void {
    this.send({ ...event, time: now() });
  }

  /** Hands on an event as it is. Never throws: a subscriber that can't be sent to is let go of, and the others get the event. */
  send(event: Event): void {
    for (const then of this.#listeners) then(event);
    for (const subscription of this.#subscriptions) {
      let goesOn = false;
      try {
        goesOn = subscription.push(event);
      } catch {
        // Nobody can tell what it wants.
        subscription.end();
      }
      if (!goesOn) this.#subscriptions.delete(subscription);
    }
  }
}
