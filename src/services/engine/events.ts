import { nanosecondsOf, secondsAndNanos } from "../../contract/go/rfc3339.js";
import type { Engine } from "../../core/engine/engine.js";
import { Failure } from "../../core/failure/failure.js";
import { Event as EventMessage, type EventsRequest } from "../../proto/containerdts/engine/v1/engine.js";
import type { StreamingCall } from "../grpc/call.js";
import { serverStream } from "../grpc/handlers.js";
import type { EngineFront } from "./front.js";

/** The call that follows what happens. */
export function eventCalls(front: EngineFront, engine: Engine) {
  return {
    events: serverStream(front, async function* (call: StreamingCall<EventsRequest>): AsyncGenerator<EventMessage> {
      const { namespace, request, signal } = await front.ready(call);
      const { types, actions, objects, labels, since } = request;
      const onOverflow = () => {
        const why = "too slow: events wait unread; ask for those since the last one seen";
        call.fail(new Failure("resource-exhausted", "refused", { why }));
      };
      const filter = { namespace, types, actions, objects, labels };
      const { last, missed, events } = engine.events.follow(filter, since && nanosecondsOf(since), onOverflow, signal);
      // Who asks for what is to come, and comes again, is told what was meanwhile.
      const isToCome = since === undefined || nanosecondsOf(since) > last;
      yield EventMessage.fromPartial({ time: isToCome ? secondsAndNanos(last) : since, missed });
      for await (const { time, object, payload } of events)
        yield { ...payload, time: secondsAndNanos(time), id: object, missed: false };
    }),
  };
}
