/** The daemon's API as promises: one function for each unary RPC, and a stream of events that remembers what it saw. */
import { setTimeout as sleep } from "node:timers/promises";
import { type ClientReadableStream, credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import * as wire from "../../src/proto/containerd.js";
import { HealthCheckRequest, type HealthCheckResponse, HealthClient } from "../../src/proto/health.js";
import { PATIENCE } from "./wait.js";

export type { wire };
export { type ServiceError, status };

/** A message of which only some fields are given; the others have their defaults. */
export type Partially<T> = T extends bigint
  ? bigint | number
  : T extends Uint8Array | string | number | boolean | undefined
    ? T
    : T extends (infer U)[]
      ? Partially<U>[]
      : { [K in keyof T]?: Partially<T[K]> | undefined };

export interface CallOptions {
  /** Cancels the call. */
  signal?: AbortSignal;
  /** ms from now; 30 s unless told. */
  timeout?: number;
}

type Call<Request, Response> = (request?: Partially<Request>, options?: CallOptions) => Promise<Response>;

type CallbackMethod = (
  request: unknown,
  metadata: Metadata,
  options: { deadline: number },
  callback: (error: ServiceError | null, response: unknown) => void,
) => { cancel: () => void };

/** What the running test has asked for through any {@link Api}, begun or not; see failed-test.ts. */
export const started: { api: Api; id: string; pid: string }[] = [];

const starting = new Set(["createContainer", "addProcess"]);

export class Api {
  readonly #client: wire.APIClient;
  readonly #health: HealthClient;

  constructor(address: string) {
    // A connection of its own for each client: grpc-js would share one between all clients of an address.
    const options = { "grpc.use_local_subchannel_pool": 1, "grpc.max_receive_message_length": 64 << 20 };
    this.#client = new wire.APIClient(address, credentials.createInsecure(), options);
    this.#health = new HealthClient(address, credentials.createInsecure(), options);
  }

  /** The method is looked up at the call: the client is not there yet when the fields below are made. */
  #unary<Request, Response>(
    name: string,
    message: { fromPartial: (object: never) => Request },
  ): Call<Request, Response> {
    return (request = {} as Partially<Request>, { signal, timeout = PATIENCE } = {}) =>
      new Promise((resolve, reject) => {
        const method = (this.#client as unknown as Record<string, CallbackMethod>)[name]!.bind(this.#client);
        const { id = "", pid = "init" } = request as { id?: string; pid?: string };
        if (process.env.VITEST !== undefined && starting.has(name)) started.push({ api: this, id, pid });
        const cancel = () => call.cancel();
        const call = method(
          message.fromPartial(request as never),
          new Metadata(),
          { deadline: Date.now() + timeout },
          (error, response) => {
            signal?.removeEventListener("abort", cancel);
            if (error) reject(error);
            else resolve(response as Response);
          },
        );
        signal?.addEventListener("abort", cancel, { once: true });
        if (signal?.aborted) cancel();
      });
  }

  readonly getServerVersion = this.#unary<wire.GetServerVersionRequest, wire.GetServerVersionResponse>(
    "getServerVersion",
    wire.GetServerVersionRequest,
  );
  readonly createContainer = this.#unary<wire.CreateContainerRequest, wire.CreateContainerResponse>(
    "createContainer",
    wire.CreateContainerRequest,
  );
  readonly updateContainer = this.#unary<wire.UpdateContainerRequest, wire.UpdateContainerResponse>(
    "updateContainer",
    wire.UpdateContainerRequest,
  );
  readonly signal = this.#unary<wire.SignalRequest, wire.SignalResponse>("signal", wire.SignalRequest);
  readonly updateProcess = this.#unary<wire.UpdateProcessRequest, wire.UpdateProcessResponse>(
    "updateProcess",
    wire.UpdateProcessRequest,
  );
  readonly addProcess = this.#unary<wire.AddProcessRequest, wire.AddProcessResponse>(
    "addProcess",
    wire.AddProcessRequest,
  );
  readonly createCheckpoint = this.#unary<wire.CreateCheckpointRequest, wire.CreateCheckpointResponse>(
    "createCheckpoint",
    wire.CreateCheckpointRequest,
  );
  readonly deleteCheckpoint = this.#unary<wire.DeleteCheckpointRequest, wire.DeleteCheckpointResponse>(
    "deleteCheckpoint",
    wire.DeleteCheckpointRequest,
  );
  readonly listCheckpoint = this.#unary<wire.ListCheckpointRequest, wire.ListCheckpointResponse>(
    "listCheckpoint",
    wire.ListCheckpointRequest,
  );
  readonly state = this.#unary<wire.StateRequest, wire.StateResponse>("state", wire.StateRequest);
  readonly stats = this.#unary<wire.StatsRequest, wire.StatsResponse>("stats", wire.StatsRequest);

  /** Health/Check. */
  health(service = "", { timeout = PATIENCE }: CallOptions = {}): Promise<HealthCheckResponse> {
    return new Promise((resolve, reject) => {
      this.#health.check(
        HealthCheckRequest.fromPartial({ service }),
        new Metadata(),
        { deadline: Date.now() + timeout },
        (error, response) => (error ? reject(error) : resolve(response)),
      );
    });
  }

  /** Subscribes to events. Without a timestamp only what happens after the daemon has read the request is seen. */
  events(request: Partially<wire.EventsRequest> = {}): EventStream {
    return new EventStream(this.#client.events(wire.EventsRequest.fromPartial(request as never)));
  }

  close(): void {
    this.#client.close();
    this.#health.close();
  }
}

/** How many of the events seen are told when another one does not come. */
const SEEN = 50;

type Match = Partial<Pick<wire.Event, "type" | "id" | "pid" | "status">>;

const matches = (event: wire.Event, match: Match) =>
  (Object.keys(match) as (keyof Match)[]).every((key) => event[key] === match[key]);

/** A subscription: keeps every event that it has seen. */
export class EventStream implements Disposable, AsyncIterable<wire.Event> {
  readonly events: wire.Event[] = [];
  /** Resolves at the end of the stream, rejects with the status it ended with. */
  readonly ended: Promise<void>;
  #over = false;
  #wake = new Set<() => void>();

  constructor(private readonly stream: ClientReadableStream<wire.Event>) {
    this.ended = new Promise((resolve, reject) => {
      stream.on("data", (event: wire.Event) => {
        this.events.push(event);
        this.#notify();
      });
      stream.on("end", () => {
        this.#over = true;
        this.#notify();
        resolve();
      });
      stream.on("error", (error) => {
        this.#over = true;
        this.#notify();
        reject(error);
      });
    });
    this.ended.catch(() => {});
  }

  #notify(): void {
    for (const wake of this.#wake) wake();
    this.#wake.clear();
  }

  /** The first event that matches, seen already or coming. */
  async waitFor(match: Match, timeout = PATIENCE): Promise<wire.Event> {
    const end = performance.now() + timeout;
    for (;;) {
      const found = this.events.find((event) => matches(event, match));
      if (found) return found;
      const left = end - performance.now();
      if (this.#over || left <= 0) {
        const seen = this.events.slice(-SEEN).map(({ type, id, pid, status }) => ({ type, id, pid, status }));
        throw new Error(
          `no event ${JSON.stringify(match)} ${this.#over ? "before the stream ended" : `in ${timeout} ms`}; ` +
            `the last of ${this.events.length} seen: ${JSON.stringify(seen)}`,
        );
      }
      const timer = new AbortController();
      await Promise.race([
        new Promise<void>((resolve) => this.#wake.add(resolve)),
        sleep(left, undefined, { signal: timer.signal }).catch(() => {}),
      ]);
      timer.abort();
    }
  }

  /** The events that match, of those seen so far. */
  all(match: Match): wire.Event[] {
    return this.events.filter((event) => matches(event, match));
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<wire.Event> {
    for (let next = 0; ; ) {
      while (next < this.events.length) yield this.events[next++]!;
      if (this.#over) return await this.ended;
      await new Promise<void>((resolve) => this.#wake.add(resolve));
    }
  }

  /** Stops reading (the daemon's queue for this subscriber fills up), and goes on. */
  pause(): void {
    this.stream.pause();
  }
  resume(): void {
    this.stream.resume();
  }

  cancel(): void {
    this.stream.cancel();
  }
  [Symbol.dispose](): void {
    this.cancel();
  }
}
