import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Server, ServerCredentials, type ServerWritableStream, status } from "@grpc/grpc-js";
import { compareTimestamps, type Timestamp } from "../../src/client/timestamp.js";
import {
  type APIServer,
  APIService,
  type Container,
  type Event,
  Event as EventMessage,
  type EventsRequest,
  StateResponse,
} from "../../src/proto/containerd.js";

/** For tests: a daemon without containers, whose answers and events the test decides, and that can be taken away. */
export class FakeDaemon implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), "fake-"));
  readonly address = `unix://${join(this.dir, "s")}`;
  /** What State answers. */
  containers: Partial<Container>[] = [];
  /** Live subscriptions. */
  readonly subscribers = new Set<ServerWritableStream<EventsRequest, Event>>();
  /** Every Events request that came. */
  readonly subscriptions: EventsRequest[] = [];
  readonly #stored: Event[] = [];
  readonly #handlers: Partial<APIServer>;
  #server: Server | undefined;

  constructor(handlers: Partial<APIServer> = {}) {
    this.#handlers = handlers;
  }

  async start(): Promise<this> {
    const server = new Server();
    const unimplemented = Object.fromEntries(
      Object.keys(APIService).map((name) => [
        name,
        (_call: unknown, callback: (error: object) => void) =>
          callback({ code: status.UNIMPLEMENTED, details: `${name} is not part of this test` }),
      ]),
    );
    server.addService(APIService, {
      ...unimplemented,
      events: (call) => this.#events(call),
      state: (call, callback) => {
        const { id } = call.request;
        const containers = this.containers.filter((container) => id === "" || container.id === id);
        if (id !== "" && containers.length === 0)
          callback({ code: status.NOT_FOUND, details: "containerd: container not found" });
        else callback(null, StateResponse.fromPartial({ containers }));
      },
      ...this.#handlers,
    } as APIServer);
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix:${join(this.dir, "s")}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      );
    });
    this.#server = server;
    return this;
  }

  /** Goes away as if killed: connections break, the socket is gone. */
  async stop(): Promise<void> {
    this.#server?.forceShutdown();
    this.#server = undefined;
    this.subscribers.clear();
    rmSync(join(this.dir, "s"), { force: true });
    await new Promise((resolve) => setTimeout(resolve, 5));
  }

  /** Stores an event and sends it to who is there. */
  emit(event: Partial<Event>): Event {
    const full = EventMessage.fromPartial({ timestamp: now(), ...event });
    this.#stored.push(full);
    for (const call of this.subscribers) if (call.request.id === "" || call.request.id === full.id) call.write(full);
    return full;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.dir, { recursive: true, force: true });
  }

  #events(call: ServerWritableStream<EventsRequest, Event>): void {
    const { timestamp, storedOnly, id } = call.request;
    this.subscriptions.push(call.request);
    if (timestamp)
      for (const event of this.#stored)
        if (compareTimestamps(event.timestamp!, timestamp) > 0 && (id === "" || event.id === id)) call.write(event);
    if (storedOnly) {
      call.end();
      return;
    }
    this.subscribers.add(call);
    call.on("cancelled", () => this.subscribers.delete(call));
  }
}

let last = 0n;

/** Later than every one before. */
function now(): Timestamp {
  const measured = BigInt(Date.now()) * 1_000_000n;
  last = measured > last ? measured : last + 1n;
  return { seconds: last / 1_000_000_000n, nanos: Number(last % 1_000_000_000n) };
}
