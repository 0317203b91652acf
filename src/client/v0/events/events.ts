import type { Event } from "../../../proto/containerd.js";
import { signalCheck } from "../../api/call-options.js";
import { Retries } from "../../api/lost-daemon.js";
import type { MessageStream } from "../../api/message-stream.js";
import type { Api } from "../../api/v0.js";
import { ContainerdError } from "../../errors/containerd-error.js";
import { duration } from "../../options/duration.js";
import { anyText, type Checks, flag } from "../../options/option-checks.js";
import { type Moment, momentCheck, type Timestamp, toTimestamp } from "../../timestamp.js";

export interface EventsOptions {
  /** Stored events strictly later than this come first. Without it: only what happens from now on. */
  since?: Moment | undefined;
  /** End after the stored events; needs `since`. */
  storedOnly?: boolean | undefined;
  /** Only this container's events. */
  id?: string | undefined;
  signal?: AbortSignal | undefined;
  /**
   * Milliseconds to try again for after the daemon was lost; then the iteration throws. Events of the time between are
   * fetched from the daemon's log. Default: for ever. 0: never try again.
   */
  patience?: number | undefined;
}

export const eventsChecks: Checks<EventsOptions> = {
  since: momentCheck,
  storedOnly: flag,
  id: anyText,
  signal: signalCheck,
  patience: duration,
};

interface SubscriptionOptions extends EventsOptions {
  /** The connection to the daemon has gone. */
  onLost?: () => void;
  /** It is there again, and a new subscription has been sent. */
  onResumed?: () => void;
}

/** What happened to the stream, not to what was asked for: the same can be asked for again. */
const LOST_CODES = new Set(["UNAVAILABLE", "CANCELLED", "INTERNAL", "RESOURCE_EXHAUSTED"]);

/** Milliseconds after which a subscription counts as stable: what it loses then is a new loss, with the whole `patience` again. */
const STABLE_TIME = 1000;

/**
 * Events in order, none lost and none twice, across lost connections and restarts of the daemon: after a loss it asks
 * for those later than the last one seen.
 *
 * The subscription is sent when this is made, not at the first read. Leave the loop, call `return()` or abort the
 * signal to end it.
 */
export class Events implements AsyncIterableIterator<Event> {
  readonly #api: Api;
  readonly #options: SubscriptionOptions;
  readonly #ended = new AbortController();
  readonly #signal: AbortSignal;
  #since: Timestamp | undefined;
  /** Where to resume when nothing has been seen yet, from a daemon that does not say where it was: the original. */
  readonly #subscribedAt = toTimestamp(Date.now());
  #stream: Promise<MessageStream<Event>>;
  #wasSubscribed = false;
  /** The loss being made up for: it is over when an event arrives or a subscription lasts. */
  #loss: Retries | undefined;
  #resumedAt = 0;

  /** @internal */
  constructor(api: Api, options: SubscriptionOptions) {
    this.#api = api;
    this.#options = options;
    this.#since = options.since === undefined ? undefined : toTimestamp(options.since);
    this.#signal = options.signal ? AbortSignal.any([options.signal, this.#ended.signal]) : this.#ended.signal;
    this.#stream = this.#subscribe();
    // Whoever reads next gets the error.
    this.#stream.catch(() => {});
  }

  /** Resolves when the subscription has been sent. @throws ContainerdError when the daemon cannot be reached. */
  async subscribed(): Promise<void> {
    await this.#stream;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Event, undefined>> {
    while (!this.#ended.signal.aborted) {
      let lost: unknown;
      let stream: MessageStream<Event> | undefined;
      try {
        stream = await this.#stream;
        this.#wasSubscribed = true;
        const result = await stream.next();
        if (!result.done) {
          this.#loss = undefined;
          this.#since = result.value.timestamp ?? this.#since;
          return result;
        }
        if (this.#options.storedOnly) return result;
        lost = new ContainerdError("UNAVAILABLE", "the daemon ended the stream of events");
      } catch (error) {
        lost = error;
      }
      this.#since ??= stream?.lastEvent;
      try {
        await this.#resume(lost);
      } catch (error) {
        if (!this.#ended.signal.aborted) throw error;
      }
    }
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<Event, undefined>> {
    this.#ended.abort();
    await this.#stream.then(
      (stream) => stream.return(),
      () => {},
    );
    return { done: true, value: undefined };
  }

  #subscribe(): Promise<MessageStream<Event>> {
    const { storedOnly, id } = this.#options;
    const request = {
      ...(this.#since && { timestamp: this.#since }),
      storedOnly: storedOnly ?? false,
      id: id ?? "",
    };
    return this.#api.events(request, { signal: this.#signal });
  }

  /** @throws the error when trying again is no use or has lasted too long. */
  async #resume(lost: unknown): Promise<void> {
    if (!this.#wasSubscribed || !isLost(lost)) throw lost;
    const { patience = Number.POSITIVE_INFINITY, onLost, onResumed } = this.#options;
    if (this.#loss && Date.now() - this.#resumedAt > STABLE_TIME) this.#loss = undefined;
    this.#loss ??= new Retries(patience);
    this.#since ??= this.#subscribedAt;
    onLost?.();
    for (let error = lost; ; ) {
      await this.#loss.pause(error, this.#signal);
      this.#stream = this.#subscribe();
      try {
        await this.#stream;
        this.#resumedAt = Date.now();
        onResumed?.();
        return;
      } catch (failure) {
        if (!isLost(failure)) throw failure;
        error = failure;
      }
    }
  }
}

function isLost(error: unknown): boolean {
  return error instanceof ContainerdError && LOST_CODES.has(error.code);
}
