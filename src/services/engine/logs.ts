import { nanosecondsOf } from "../../contract/go/rfc3339.js";
import type { Engine } from "../../core/engine/engine.js";
import { logs } from "../../core/engine/operations/logs.js";
import { runningTask } from "../../core/engine/operations/running.js";
import { refusal } from "../../core/failure/failure.js";
import type { LogsRequest, LogsResponse, WriteStdinRequest } from "../../proto/containerdts/engine/v1/engine.js";
import type { Call, StreamingCall } from "../grpc/call.js";
import { clientStream, serverStream } from "../grpc/handlers.js";
import type { EngineFront } from "./front.js";

/** The calls about what containers print. */
export function logCalls(front: EngineFront, engine: Engine) {
  return {
    logs: serverStream(front, async function* (call: StreamingCall<LogsRequest>): AsyncGenerator<LogsResponse> {
      const { namespace, request, signal } = await front.ready(call);
      const container = await engine.find(namespace, request.id, signal);
      const { follow, since, until, tail, position } = request;
      const wanted = {
        follow,
        since: since && nanosecondsOf(since),
        until: until && nanosecondsOf(until),
        tail: optional("tail", tail),
        position: optional("position", position),
      };
      for await (const chunk of logs(engine, container, wanted, signal))
        yield { data: chunk.data, position: BigInt(chunk.position), missed: BigInt(chunk.missed) };
    }),
    writeStdin: clientStream(front, async (call: Call<AsyncIterable<WriteStdinRequest>>) => {
      const requests = call.request[Symbol.asyncIterator]();
      const { value: first } = await requests.next();
      if (first === undefined) throw refusal("write stdin: the first message has to say whose");
      const { namespace } = await front.ready({ ...call, request: { id: first.id } });
      const container = await engine.find(namespace, first.id, call.signal);
      await engine.stdins.write(container, runningTask(engine, container), dataOf(first, requests), call.signal);
      return {};
    }),
  };
}

async function* dataOf(first: WriteStdinRequest, more: AsyncIterator<WriteStdinRequest>): AsyncGenerator<Uint8Array> {
  if (first.data.length > 0) yield first.data;
  for (let next = await more.next(); !next.done; next = await more.next()) yield next.value.data;
}

/** @throws Failure (invalid-argument) */
function optional(name: string, value: bigint | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw refusal(`${name} ${value}: it is too large`);
  return Number(value);
}
