import type { Event, EventsRequest } from "../../proto/containerdts/engine/v1/engine.js";
import { limitedBy } from "../abortable.js";
import { type CallOptions, callChecks } from "../api/call-options.js";
import { timeoutError } from "../api/connection.js";
import type { EngineApi } from "../api/engine.js";
import { isLost, Retries } from "../api/lost-daemon.js";
import { ContainerdError } from "../errors/containerd-error.js";
import { anyText, type Checks, callback, checkOptions, listOf, oneOf } from "../options/option-checks.js";
import { type Moment, momentCheck, type Timestamp, toDate, toTimestamp } from "../timestamp.js";

/** Of each list one holds, of labels all. */
export interface EngineEventsOptions extends CallOptions {
  /** Those that the daemon keeps, the last 1,024 or more, strictly later than that, come first. Default: only what happens from now on. */
  since?: Moment | undefined;
  /**
   * Is called when some of those after `since`, or of the time of a lost connection, are not kept any more: before those that are. What
   * is known of by events has to be looked up anew then.
   */
  onMissed?: (() => void) | undefined;
  types?: readonly EngineEvent["type"][] | undefined;
  /** "start", "die". */
  actions?: readonly string[] | undefined;
  /** Ids or names. */
  objects?: readonly string[] | undefined;
  /** "NAME" or "NAME=value". */
  labels?: readonly string[] | undefined;
}

/** Something that has happened. */
export interface EngineEvent {
  type: "container" | "network" | "volume";
  action: string;
  id: string;
  /** "" is none. */
  name: string;
  labels: Record<string, string>;
  /** What else is known, by the action: `status` of "die", `health` of "health". */
  attributes: Record<string, string>;
  time: Date;
  /** To the nanosecond; every event has another. As an option `since` it has those behind it come. */
  timestamp: Timestamp;
}

const eventsChecks: Checks<EngineEventsOptions> = {
  since: momentCheck,
  onMissed: callback,
  types: listOf(oneOf("container", "network", "volume")),
  actions: listOf(anyText),
  objects: listOf(anyText),
  labels: listOf(anyText),
  ...callChecks,
};

/** What happens, in order, across lost connections and restarts of the daemon. @throws TypeError, RangeError for wrong options */
export function followEvents(
  api: EngineApi,
  options: EngineEventsOptions,
): AsyncGenerator<EngineEvent, void, undefined> {
  checkOptions(options, eventsChecks);
  const { since, onMissed, types = [], actions = [], objects = [], labels = [], ...call } = options;
  const lists = { types: [...types], actions: [...actions], objects: [...objects], labels: [...labels] };
  return follow(api, { ...lists, since: since === undefined ? undefined : toTimestamp(since) }, call, onMissed);
}

async function* follow(
  api: EngineApi,
  request: EventsRequest,
  call: CallOptions,
  onMissed: () => void = () => {},
): AsyncGenerator<EngineEvent, void, undefined> {
  const { signal, forget } = limitedBy(call, () => timeoutError(call.timeout));
  let retries: Retries | undefined;
  try {
    for (;;) {
      let lost: unknown = new ContainerdError("UNAVAILABLE", "the daemon ended the stream of events");
      try {
        for await (const event of await api.calls.events(request, { signal })) {
          retries = undefined;
          request.since = event.time;
          if (event.missed) onMissed();
          if (event.type !== "") yield eventOf(event);
        }
      } catch (error) {
        if (!isLost(error) && !(request.since !== undefined && isTooSlow(error))) throw error;
        lost = error;
      }
      retries ??= new Retries(api.patience);
      await retries.pause(lost, signal);
    }
  } finally {
    forget();
  }
}

/** It goes on with what is kept. */
function isTooSlow(error: unknown): boolean {
  return error instanceof ContainerdError && error.code === "RESOURCE_EXHAUSTED";
}

function eventOf({ time, type, missed: _, ...same }: Event): EngineEvent {
  return { ...same, type: type as EngineEvent["type"], time: toDate(time!), timestamp: time! };
}
