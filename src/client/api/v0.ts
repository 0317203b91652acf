import type * as wire from "../../proto/containerd.js";
import {
  AddProcessRequest,
  CreateCheckpointRequest,
  CreateContainerRequest,
  DeleteCheckpointRequest,
  EventsRequest,
  GetServerVersionRequest,
  ListCheckpointRequest,
  SignalRequest,
  StateRequest,
  StatsRequest,
  UpdateContainerRequest,
  UpdateProcessRequest,
} from "../../proto/containerd.js";
import { HealthCheckResponse_ServingStatus } from "../../proto/health.js";
import { withJson } from "../json.js";
import { deadlineAfter } from "../options/duration.js";
import { checkOptions } from "../options/option-checks.js";
import { type MessageType, wholeMessage } from "../options/request-fields.js";
import { compareTimestamps, type Timestamp } from "../timestamp.js";
import { type CallOptions, callChecks } from "./call-options.js";
import type { Connection, UnaryMethod } from "./connection.js";
import { MessageStream } from "./message-stream.js";

/** A request of which only the fields that matter are given; the others have protobuf's zero. */
export type Fields<T> = T extends bigint
  ? bigint | number
  : T extends (infer Item)[]
    ? Fields<Item>[]
    : T extends object
      ? { [Key in keyof T]?: Fields<T[Key]> }
      : T;

const EPOCH: Timestamp = { seconds: 0n, nanos: 0 };

/** The last one that RFC 3339 has; no event is later. */
const END_OF_TIME: Timestamp = { seconds: 253_402_300_799n, nanos: 0 };

/**
 * The daemon's RPCs one by one, named and shaped as on the wire. `client.v0` is what most programs want; this is for
 * what it does not cover. Every method throws {@link ContainerdError}, or the signal's reason.
 */
export class Api {
  readonly #connection: Connection;

  /** @internal */
  constructor(connection: Connection) {
    this.#connection = connection;
  }

  getServerVersion(options?: CallOptions): Promise<wire.GetServerVersionResponse> {
    return this.#call("getServerVersion", GetServerVersionRequest, {}, options);
  }

  /** Creates and starts a container; answers once its process runs. */
  createContainer(
    request: Fields<wire.CreateContainerRequest>,
    options?: CallOptions,
  ): Promise<wire.CreateContainerResponse> {
    return this.#call("createContainer", CreateContainerRequest, request, options, request.id);
  }

  /** Pauses or resumes (`status`), or changes limits (`resources`). */
  async updateContainer(request: Fields<wire.UpdateContainerRequest>, options?: CallOptions): Promise<void> {
    await this.#call("updateContainer", UpdateContainerRequest, request, options, request.id);
  }

  /** Sends a signal to one process; 0 only asks whether it is there. */
  async signal(request: { id: string; pid?: string; signal: number }, options?: CallOptions): Promise<void> {
    await this.#call("signal", SignalRequest, { pid: "init", ...request }, options, request.id);
  }

  /** Resizes a process's terminal (characters) or closes its stdin. */
  async updateProcess(request: Fields<wire.UpdateProcessRequest>, options?: CallOptions): Promise<void> {
    await this.#call("updateProcess", UpdateProcessRequest, request, options, request.id);
  }

  /** Starts one more process in a container. */
  addProcess(request: Fields<wire.AddProcessRequest>, options?: CallOptions): Promise<wire.AddProcessResponse> {
    return this.#call("addProcess", AddProcessRequest, request, options, request.id);
  }

  async createCheckpoint(request: Fields<wire.CreateCheckpointRequest>, options?: CallOptions): Promise<void> {
    await this.#call("createCheckpoint", CreateCheckpointRequest, request, options, request.id);
  }

  async deleteCheckpoint(
    request: { id: string; name: string; checkpointDir?: string },
    options?: CallOptions,
  ): Promise<void> {
    await this.#call("deleteCheckpoint", DeleteCheckpointRequest, request, options, request.id);
  }

  listCheckpoint(
    request: { id: string; checkpointDir?: string },
    options?: CallOptions,
  ): Promise<wire.ListCheckpointResponse> {
    return this.#call("listCheckpoint", ListCheckpointRequest, request, options, request.id);
  }

  /** All containers, or the one with this id. */
  state(request: { id?: string } = {}, options?: CallOptions): Promise<wire.StateResponse> {
    return this.#call("state", StateRequest, request, options, request.id);
  }

  /**
   * The daemon's events as they come: with `timestamp`, stored ones strictly later than it first; with `storedOnly`,
   * those alone. The subscription is sent before this resolves. It ends when the connection does;
   * `client.v0.events` goes on by itself.
   */
  async events(
    request: Fields<wire.EventsRequest> = {},
    options: CallOptions = {},
  ): Promise<MessageStream<wire.Event>> {
    checkOptions(options, callChecks);
    const subscription = wholeMessage(EventsRequest, request);
    const { signal, timeout } = options;
    await this.#connection.ready(signal, timeout);
    const call = this.#connection.service.events(subscription, deadlineAfter(timeout));
    this.#connection.track(call);
    return new MessageStream({
      call,
      signal,
      explain: (error) => this.#connection.explain(error, request.id, timeout),
    });
  }

  /**
   * When the daemon's newest event happened, by its own clock: all that will happen is later. The epoch when nothing has
   * happened yet.
   */
  async lastEventTime(options?: CallOptions): Promise<Timestamp> {
    const none = await this.events({ timestamp: END_OF_TIME, storedOnly: true }, options);
    for await (const _ of none);
    if (none.lastEvent) return none.lastEvent;
    // The original does not say it: then all that it has stored is read.
    let last = EPOCH;
    for await (const { timestamp } of await this.events({ timestamp: EPOCH, storedOnly: true }, options))
      if (timestamp && compareTimestamps(timestamp, last) > 0) last = timestamp;
    return last;
  }

  stats(request: { id: string }, options?: CallOptions): Promise<wire.StatsResponse> {
    return this.#call("stats", StatsRequest, request, options, request.id);
  }

  /** The standard health check: true when the daemon answers that it serves. */
  async health(options?: CallOptions): Promise<boolean> {
    checkOptions(options ?? {}, callChecks);
    const { health } = this.#connection;
    const method = health.check.bind(health) as UnaryMethod<{ service: string }, { status: number }>;
    const { status } = await this.#connection.unary(method, { service: "" }, options);
    return status === HealthCheckResponse_ServingStatus.SERVING;
  }

  async #call<Name extends UnaryName>(
    name: Name,
    type: MessageType<RequestOf<Name>>,
    fields: Fields<RequestOf<Name>> & object,
    options: CallOptions | undefined,
    containerId?: string,
  ): Promise<ResponseOf<Name>> {
    const { service } = this.#connection;
    const method = service[name].bind(service) as unknown as UnaryMethod<RequestOf<Name>, ResponseOf<Name>>;
    checkOptions(options ?? {}, callChecks);
    const request = wholeMessage(type, fields);
    return withJson(await this.#connection.unary(method, request, options, containerId || undefined));
  }
}

type Service = (typeof wire.APIClient)["service"];
type UnaryName = Exclude<keyof Service, "events">;
type RequestOf<Name extends UnaryName> = ReturnType<Service[Name]["requestDeserialize"]>;
type ResponseOf<Name extends UnaryName> = ReturnType<Service[Name]["responseDeserialize"]>;
