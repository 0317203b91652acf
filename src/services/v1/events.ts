import type { Event } from "../../core/events/event.js";
import { ForeignPayload } from "../../core/events/foreign-payload.js";
import { Failure, refusal } from "../../core/failure/failure.js";
import { checkIdentifier } from "../../core/metadata/identifier.js";
import type { Tasks } from "../../core/tasks/tasks.js";
import { unseenExits } from "../../core/tasks/unseen-exits.js";
import {
  type EventsServer,
  EventsService,
  type ForwardRequest,
  type SubscribeRequest,
} from "../../proto/containerd/services/events/v1/events.js";
import type { Envelope } from "../../proto/containerd/types/event.js";
import type { Any } from "../../proto/google/protobuf/any.js";
import type { StreamingCall } from "../grpc/call.js";
import type { GrpcService } from "../grpc/server.js";
import { timestampValue } from "../grpc/timestamp.js";
import { envelopeOf } from "./events/envelope.js";
import { fieldOf } from "./events/fields.js";
import { filterOf } from "./filters/filter.js";
import type { FrontV1 } from "./front.js";

/** In bytes: of what a client publishes. Some thousand of them may wait for one that does not read. */
const LARGEST = 64 * 1024;

/** In characters: how much of a topic an error quotes, and of filters the log. */
const MAX_SHOWN = 160;

/** What happens, in all namespaces: filters choose. */
export function eventsService(front: FrontV1, tasks: Tasks): GrpcService {
  const { bus } = tasks;
  const implementation: EventsServer = {
    publish: front.namespaced(({ namespace, request: { topic, event } }) => {
      checkTopic(topic);
      bus.publish({ namespace, topic, object: "", payload: payloadOf(topic, event) });
      return {};
    }),
    forward: front.general(({ request }) => {
      bus.send(forwarded(request));
      return {};
    }),
    subscribe: front.generalStream((call) => subscribe(front, tasks, call)),
  };
  return { definition: EventsService, implementation };
}

async function* subscribe(
  { log }: FrontV1,
  tasks: Tasks,
  call: StreamingCall<SubscribeRequest>,
): AsyncGenerator<Envelope> {
  const { filters } = call.request;
  const passes = await filterOf(filters);
  const about = { filters: filters.join("; ").slice(0, MAX_SHOWN) };
  // What has no namespace is of containerd 0.2's API.
  const wants = (event: Event): event is Event => event.namespace !== "" && passes(fieldOf(envelopeOf(event)));
  const onOverflow = () => {
    log.warn(about, "containerd: event subscriber too slow; it has to subscribe anew");
    const why = "too slow: events wait unread; subscribe anew and look at what there is";
    call.fail(new Failure("resource-exhausted", "refused", { why }));
  };
  const options = { about, wants, onOverflow, replay: unseenExits(tasks) };
  for await (const event of tasks.bus.follow(options, call.signal)) yield envelopeOf(event);
}

function forwarded({ envelope }: ForwardRequest): Event {
  const { namespace = "", topic = "", timestamp, event } = envelope ?? {};
  checkIdentifier(namespace, "event envelope has invalid namespace: ");
  checkTopic(topic);
  if (timestamp === undefined) throw refusal("timestamp must be set on forwarded event");
  return { namespace, topic, object: "", payload: payloadOf(topic, event), time: timestampValue(timestamp) };
}

function payloadOf(topic: string, event: Any | undefined): ForeignPayload {
  if (event === undefined) throw refusal("event must be set");
  const size = topic.length + event.typeUrl.length + event.value.length;
  if (size > LARGEST) throw refusal(`event of ${size} bytes: larger than ${LARGEST}`);
  return new ForeignPayload(event.typeUrl, event.value);
}

/** @throws Failure (invalid-argument) that quotes it */
function checkTopic(topic: string): void {
  const shown = JSON.stringify(topic.length > MAX_SHOWN ? `${topic.slice(0, MAX_SHOWN)}…` : topic);
  const refuse = (why: string) => refusal(`envelope topic ${shown}: ${why}`);
  if (topic === "") throw refuse("must not be empty");
  if (!topic.startsWith("/")) throw refuse("must start with '/'");
  if (topic === "/") throw refuse("must have at least one component");
  for (const component of topic.slice(1).split("/"))
    checkIdentifier(
      component,
      `envelope topic ${shown}: failed validation on component ${JSON.stringify(component.slice(0, MAX_SHOWN))}: `,
    );
}
