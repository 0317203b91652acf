import { existsSync } from "node:fs";
import type { Logger } from "pino";
import type { Event, EventLines } from "../events/event.js";
import { EventBus } from "../events/event-bus.js";
import { EventLog } from "../events/event-log.js";
import type { Subscription } from "../events/subscription.js";
import { logText } from "../failure/log-text.js";

/** How many are kept, for who has lost the connection. */
const KEPT = 1024;

const TOPIC = "/engine/event";

export type EngineEventType = "container" | "network" | "volume";

export interface EngineEventPayload {
  type: EngineEventType;
  /** `start` */
  action: string;
  /** "" is none. */
  name: string;
  labels: Readonly<Record<string, string>>;
  /** What else is known of it, by the action: `status` of `die`. */
  attributes: Readonly<Record<string, string>>;
}

/** Something that has happened to what the engine has; `object` is its id. */
export type EngineEvent = Event<typeof TOPIC, EngineEventPayload>;

export interface EventFilter {
  namespace: string;
  /** One of each list that is not empty. */
  types: readonly string[];
  actions: readonly string[];
  /** Ids or names; of what happens to a network, also of the container. */
  objects: readonly string[];
  /** `NAME` or `NAME=value`; all of them hold. */
  labels: readonly string[];
}

interface Parts {
  /** Of the log's file; its directory may not be there yet. */
  path: string;
  /** Makes that directory. */
  prepare: () => void;
  log: Logger;
}

/** What happens to what the engine has: stored, then sent to all who follow. */
export class EngineEvents {
  readonly #parts: Parts;
  readonly #bus = new EventBus();
  #log: EventLog<EngineEvent> | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Never throws: what can't be written down is sent all the same. */
  tell(
    namespace: string,
    object: string,
    event: Partial<EngineEventPayload> & Pick<EngineEventPayload, "type" | "action">,
  ): void {
    const payload = { name: "", labels: {}, attributes: {}, ...event };
    try {
      this.#parts.prepare();
      const log = this.#opened();
      this.#bus.send(log.append({ namespace, topic: TOPIC, object, payload }, (error) => this.#warn(error)));
    } catch (error) {
      this.#warn(error);
      this.#bus.publish({ namespace, topic: TOPIC, object, payload });
    }
  }

  /**
   * @param since nanoseconds since the epoch: stored ones strictly later than that come first; undefined: only what happens from now on
   * @param signal ends it
   * @returns when the last one was that is known now, whether some after `since` are not kept any more, and those to come
   */
  follow(
    filter: EventFilter,
    since: bigint | undefined,
    onOverflow: () => void,
    signal: AbortSignal,
  ): { last: bigint; missed: boolean; events: Subscription<EngineEvent> } {
    const log = existsSync(this.#parts.path) ? this.#opened() : this.#log;
    const wants = (event: Event): event is EngineEvent => matches(event as EngineEvent, filter);
    const about = { namespace: filter.namespace };
    const replay = since === undefined ? [] : (log?.since(since) ?? []);
    const missed = since !== undefined && (log?.lacks(since) ?? false);
    return { last: log?.last ?? 0n, missed, events: this.#bus.follow({ about, wants, replay, onOverflow }, signal) };
  }

  close(): void {
    this.#log?.close();
    this.#log = undefined;
  }

  /** @throws a system error */
  #opened(): EventLog<EngineEvent> {
    this.#log ??= new EventLog(this.#parts.path, LINES, KEPT);
    return this.#log;
  }

  #warn(error: unknown): void {
    this.#parts.log.error({ error: logText(error) }, "containerd: write the events of the engine");
  }
}

function matches({ namespace, object, payload }: EngineEvent, filter: EventFilter): boolean {
  const { type, action, name, labels, attributes } = payload;
  const isOneOf = (wanted: readonly string[], ...values: (string | undefined)[]) =>
    wanted.length === 0 || values.some((value) => value !== undefined && value !== "" && wanted.includes(value));
  return (
    namespace === filter.namespace &&
    isOneOf(filter.types, type) &&
    isOneOf(filter.actions, action) &&
    isOneOf(filter.objects, object, name, attributes.container) &&
    filter.labels.every((label) => {
      const end = label.indexOf("=");
      return end < 0 ? Object.hasOwn(labels, label) : labels[label.slice(0, end)] === label.slice(end + 1);
    })
  );
}

const LINES: EventLines<EngineEvent> = {
  encode: (event) => `${JSON.stringify({ ...event, time: String(event.time) })}\n`,
  decode: (line) => {
    try {
      const { time, ...event } = JSON.parse(line);
      const isWhole = event.topic === TOPIC && typeof event.payload?.action === "string";
      return isWhole ? { ...event, time: BigInt(time) } : undefined;
    } catch {
      return undefined;
    }
  },
};
