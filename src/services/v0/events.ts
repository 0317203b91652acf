import { formatRfc3339, secondsAndNanos } from "../../contract/go/rfc3339.js";
import type { Event } from "../../core/events/event.js";
import { Subscription } from "../../core/events/subscription.js";
import { Failure, refusal } from "../../core/failure/failure.js";
import { EVENT_TYPES, type Event02 } from "../../core/tasks/state-directory/event-line.js";
import type { Tasks } from "../../core/tasks/tasks.js";
import type { Event as EventMessage, EventsRequest } from "../../proto/containerd.js";
import type { StreamingCall } from "../grpc/call.js";
import { timestampValue } from "../grpc/timestamp.js";

/** Says how new the newest event is that was there before the subscription. The original has no such header. */
const LAST_EVENT_HEADER = "containerd-last-event";

/**
 * Streams events: stored ones later than the timestamp first, then live ones until the caller leaves.
 * @param ready resolves once the event log has what happened before this daemon
 */
export async function* events(
  tasks: Tasks,
  ready: Promise<void>,
  call: StreamingCall<EventsRequest>,
): AsyncGenerator<EventMessage> {
  const { timestamp, storedOnly, id } = call.request;
  if (storedOnly && timestamp === undefined) {
    throw refusal("invalid parameter: StoredOnly cannot be specified without setting a valid Timestamp");
  }
  const since = timestamp === undefined ? undefined : timestampValue(timestamp);
  await ready;
  call.signal.throwIfAborted();
  const wants = (event: Event): event is Event02 => event.namespace === "" && (id === "" || event.object === id);
  const onOverflow = () => {
    tasks.log.warn({ id }, "containerd: event subscriber too slow; it has to resume");
    const why = "too slow: events wait unread; resume from the last timestamp seen";
    call.fail(new Failure("resource-exhausted", "refused", { why }));
  };
  const replay = since === undefined ? [] : tasks.events.logOf("").since(since);
  tasks.log.debug({ id, storedOnly, replay: replay.length }, "containerd: events subscribed");
  // Whoever has seen no event yet resumes from here, whatever its own clock says.
  call.sendHeaders({ [LAST_EVENT_HEADER]: formatRfc3339(tasks.events.logOf("").last) });
  const options = { about: { id }, wants, replay, onOverflow };
  // In the same turn as the replay was taken: no event can come between.
  const subscription = storedOnly ? Subscription.ofStored(options) : tasks.bus.follow(options, call.signal);
  for await (const event of subscription) yield eventMessage(event);
}

function eventMessage(event: Event02): EventMessage {
  const message = {
    type: EVENT_TYPES[event.topic],
    id: event.object,
    status: 0,
    pid: "",
    timestamp: secondsAndNanos(event.time),
    memoryPeak: 0,
  };
  switch (event.topic) {
    case "/tasks/exec-started":
      return { ...message, pid: event.payload.process };
    case "/tasks/exit": {
      const { process: pid, status, memoryPeak = 0n } = event.payload;
      return { ...message, pid, status, memoryPeak: Number(memoryPeak) };
    }
    default:
      return message;
  }
}
