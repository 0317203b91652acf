import { formatRfc3339, secondsAndNanos } from "../../contract/go/rfc3339.js";
import type { Event } from "../../core/events/event.js";
import { Subscription } from "../../core/events/subscribers.js";
import { Failure } from "../../core/failure/failure.js";
import type { Supervisor } from "../../core/tasks/supervisor.js";
import type { Event as EventMessage, EventsRequest } from "../../proto/containerd.js";
import type { StreamingCall } from "../grpc/call.js";
import { timestampValue } from "./timestamp.js";
import { refusal } from "./words.js";

/** Says how new the newest event is that was there before the subscription. The original has no such header. */
const lastEventHeader = "containerd-last-event";

/**
 * Streams events: stored ones later than the timestamp first, then live ones until the caller leaves.
 * @param ready resolves once the event log has what happened before this daemon
 */
export async function* events(
  supervisor: Supervisor,
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
  const overflow = () => {
    supervisor.log.warn({ id }, "containerd: event subscriber too slow; it has to resume");
    const why = "too slow: events wait unread; resume from the last timestamp seen";
    call.fail(new Failure("resource-exhausted", "refused", { why }));
  };
  const replay = since === undefined ? [] : supervisor.events.since(since);
  supervisor.log.debug({ id, storedOnly, replay: replay.length }, "containerd: events subscribed");
  let next: Event | undefined;
  let ended = storedOnly;
  let wake = () => {};
  // Takes one at a time: the caller may be slow, and what waits is counted by the subscription.
  const take = (event: Event) => {
    next = event;
    wake();
    return false;
  };
  const end = () => {
    ended = true;
    wake();
  };
  const subscription = new Subscription(id, replay, take, overflow, end);
  call.signal.addEventListener("abort", end, { once: true });
  // Whoever has seen no event yet resumes from here, whatever its own clock says.
  call.sendHeaders({ [lastEventHeader]: formatRfc3339(supervisor.events.last) });
  // In the same turn as the replay was taken: no event can come between.
  if (!storedOnly) supervisor.subscribers.add(subscription);
  try {
    for (;;) {
      subscription.resume(true);
      while (next === undefined && !ended) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      if (next === undefined) return;
      const event = next;
      next = undefined;
      yield eventMessage(event);
    }
  } finally {
    supervisor.subscribers.remove(subscription);
  }
}

function eventMessage({ type, id, status, pid, timestamp, memoryPeak }: Event): EventMessage {
  return {
    type,
    id,
    status: status ?? 0,
    pid: pid ?? "",
    timestamp: secondsAndNanos(timestamp),
    memoryPeak: Number(memoryPeak ?? 0n),
  };
}
