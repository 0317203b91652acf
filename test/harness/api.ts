/** The daemon's API as promises: one function for each unary RPC, and a stream of events that remembers what it saw. */
import { type ChannelOptions, type ClientReadableStream, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import type { CallOptions } from "../../src/client/api/call-options.js";
import { Connection, type UnaryMethod } from "../../src/client/api/connection.js";
import { Api as ClientApi, type Fields as Partially } from "../../src/client/api/v0.js";
import { parseAddress } from "../../src/contract/address.js";
import * as wire from "../../src/proto/containerd.js";
import { MessageStream } from "./message-stream.js";
import { PATIENCE } from "./wait.js";

export type { CallOptions, Partially, wire };
export { type ServiceError, status };

/** What the running test has asked for through any {@link Api}, begun or not; see failed-test.ts. */
export const started: { api: Api; id: string; pid: string }[] = [];

/** A connection of the client library's whose errors are the daemon's own, not explained, and whose calls all end. */
class RawConnection extends Connection {
  override async ready(): Promise<void> {}

  override unary<Request, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    { signal, timeout = PATIENCE }: CallOptions = {},
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const cancel = () => call.cancel();
      const call = method(request, new Metadata(), { deadline: Date.now() + timeout }, (error, response) => {
        signal?.removeEventListener("abort", cancel);
        if (error) reject(error);
        else resolve(response);
      });
      signal?.addEventListener("abort", cancel, { once: true });
      if (signal?.aborted) cancel();
    });
  }
}

/** The client library's RPCs, on a connection of their own, with errors as grpc-js has them: {@link ServiceError}. */
export class Api extends ClientApi {
  readonly #connection: Connection;

  /** @param address as grpc-js takes it */
  constructor(address: string, channelOptions: ChannelOptions = {}) {
    const text = address.startsWith("unix:") ? `unix://${address.slice("unix:".length)}` : `tcp://${address}`;
    const connection = new RawConnection(parseAddress(text), {}, channelOptions);
    super(connection);
    this.#connection = connection;
  }

  override createContainer(request: Partially<wire.CreateContainerRequest>, options?: CallOptions) {
    if (process.env.VITEST !== undefined) started.push({ api: this, id: request.id ?? "", pid: "init" });
    return super.createContainer(request, options);
  }

  override addProcess(request: Partially<wire.AddProcessRequest>, options?: CallOptions) {
    if (process.env.VITEST !== undefined) started.push({ api: this, id: request.id ?? "", pid: request.pid ?? "" });
    return super.addProcess(request, options);
  }

  /** Health/Check of a service; {@link health} is that of all. */
  healthOf(service: string): Promise<unknown> {
    const { health } = this.#connection;
    return this.#connection.unary(health.check.bind(health), { service });
  }

  /** Subscribes to events. Without a timestamp only what happens after the daemon has read the request is seen. */
  subscribe(request: Partially<wire.EventsRequest> = {}): EventStream {
    return new EventStream(this.#connection.service.events(wire.EventsRequest.fromPartial(request as never)));
  }

  close(): void {
    this.#connection.close();
  }
}

type Match = Partial<Pick<wire.Event, "type" | "id" | "pid" | "status">>;

const matches = (event: wire.Event, match: Match) =>
  (Object.keys(match) as (keyof Match)[]).every((key) => event[key] === match[key]);

/** A subscription: keeps every event that it has seen. */
export class EventStream extends MessageStream<wire.Event> {
  constructor(stream: ClientReadableStream<wire.Event>) {
    super(stream, ({ type, id, pid, status }) => ({ type, id, pid, status }));
  }

  get events(): wire.Event[] {
    return this.messages;
  }

  /** The first event that matches, seen already or coming. */
  waitFor(match: Match, timeout?: number): Promise<wire.Event> {
    return this.first((event) => matches(event, match), `event ${JSON.stringify(match)}`, timeout);
  }

  /** The events that match, of those seen so far. */
  all(match: Match): wire.Event[] {
    return this.events.filter((event) => matches(event, match));
  }
}
