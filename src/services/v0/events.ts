import { Metadata, type ServerWritableStream, type ServiceError } from "@grpc/grpc-js";
import { formatRfc3339, secondsAndNanos } from "../../contract/go/rfc3339.js";
import type { Event } from "../../core/events/event.js";
import { Subscription } from "../../core/events/subscribers.js";
import { Failure } from "../../core/failure/failure.js";
import type { Event as EventMessage, EventsRequest } from "../../proto/containerd.js";
import { serviceError } from "../grpc/status.js";
import type { ApiContext } from "../grpc/unary.js";
import { timestampValue } from "./timestamp.js";
import { refusal } from "./words.js";

/** Says how new the newest event is that was there before the subscription. The original has no such header. */
const lastEventHeader = "containerd-last-event";

/** Streams events: stored ones later than the timestamp first, then live ones until the caller leaves. */
export function events(context: ApiContext, call: ServerWritableStream<EventsRequest, EventMessage>): void {
  streamEvents(context, call).catch((error: unknown) => fail(call, serviceError(error)));
}

async function streamEvents(
  { supervisor, ready }: ApiContext,
  call: ServerWritableStream<EventsRequest, EventMessage>,
): Promise<void> {
  const { timestamp, storedOnly, id } = call.request;
  if (storedOnly && timestamp === undefined) {
    throw refusal("invalid parameter: StoredOnly cannot be specified without setting a valid Timestamp");
  }
  const since = timestamp === undefined ? undefined : timestampValue(timestamp);
  await ready;
  if (call.cancelled) return;
  const overflow = () => {
    supervisor.log.warn({ id }, "containerd: event subscriber too slow; it has to resume");
    const why = "too slow: events wait unread; resume from the last timestamp seen";
    fail(call, serviceError(new Failure("resource-exhausted", "refused", { why })));
  };
  // Whoever has seen no event yet resumes from here, whatever its own clock says.
  const headers = new Metadata();
  headers.set(lastEventHeader, formatRfc3339(supervisor.events.last));
  const replay = since === undefined ? [] : supervisor.events.since(since);
  supervisor.log.debug({ id, storedOnly, replay: replay.length }, "containerd: events subscribed");
  const subscription = new Subscription(
    id,
    replay,
    (event) => call.write(eventMessage(event)),
    overflow,
    () => call.end(),
  );
  const endIfDone = () => {
    if (storedOnly && subscription.empty) call.end();
  };
  call.on("drain", () => {
    subscription.resume(true);
    endIfDone();
  });
  call.sendMetadata(headers);
  subscription.resume();
  endIfDone();
  if (storedOnly) return;
  // In the same turn as the replay was taken: no event can come between.
  supervisor.subscribers.add(subscription);
  call.once("cancelled", () => supervisor.subscribers.remove(subscription));
  call.once("close", () => supervisor.subscribers.remove(subscription));
}

/** Ends the stream with this status, after what has been written. `destroy` would end it without one. */
function fail(call: ServerWritableStream<EventsRequest, EventMessage>, error: ServiceError): void {
  call.emit("error", error);
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
