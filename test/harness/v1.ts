/** containerd 1.x's API as promises: its services with the namespace of a test, and a stream of events that remembers what it saw. */

import { inspect } from "node:util";
import {
  type ChannelCredentials,
  type ClientOptions,
  type ClientReadableStream,
  credentials,
  Metadata,
  type MethodDefinition,
  type Client as ServiceClient,
  type ServiceDefinition,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import type { CallOptions } from "../../src/client/api/call-options.js";
import type { UnaryMethod } from "../../src/client/api/connection.js";
import * as containerEvents from "../../src/proto/containerd/events/container.js";
import * as contentEvents from "../../src/proto/containerd/events/content.js";
import * as imageEvents from "../../src/proto/containerd/events/image.js";
import * as namespaceEvents from "../../src/proto/containerd/events/namespace.js";
import * as snapshotEvents from "../../src/proto/containerd/events/snapshot.js";
import * as taskEvents from "../../src/proto/containerd/events/task.js";
import { ContainersClient } from "../../src/proto/containerd/services/containers/v1/containers.js";
import { ContentClient, type ReadContentRequest } from "../../src/proto/containerd/services/content/v1/content.js";
import { DiffClient } from "../../src/proto/containerd/services/diff/v1/diff.js";
import { EventsClient } from "../../src/proto/containerd/services/events/v1/events.js";
import { ImagesClient } from "../../src/proto/containerd/services/images/v1/images.js";
import { IntrospectionClient } from "../../src/proto/containerd/services/introspection/v1/introspection.js";
import { LeasesClient } from "../../src/proto/containerd/services/leases/v1/leases.js";
import { NamespacesClient } from "../../src/proto/containerd/services/namespaces/v1/namespaces.js";
import {
  type Info as SnapshotInfo,
  SnapshotsClient,
} from "../../src/proto/containerd/services/snapshots/v1/snapshots.js";
import { StreamingClient } from "../../src/proto/containerd/services/streaming/v1/streaming.js";
import { TasksClient } from "../../src/proto/containerd/services/tasks/v1/tasks.js";
import { TransferClient } from "../../src/proto/containerd/services/transfer/v1/transfer.js";
import { VersionClient } from "../../src/proto/containerd/services/version/v1/version.js";
import type { Envelope } from "../../src/proto/containerd/types/event.js";
import { EngineClient } from "../../src/proto/containerdts/engine/v1/engine.js";
import { NetworksClient } from "../../src/proto/containerdts/engine/v1/networks.js";
import { VolumesClient } from "../../src/proto/containerdts/engine/v1/volumes.js";
import type { Any } from "../../src/proto/google/protobuf/any.js";
import { HealthClient } from "../../src/proto/health.js";
import { ContentWriter } from "./content-writer.js";
import { MessageStream } from "./message-stream.js";
import { eventually, PATIENCE } from "./wait.js";

export interface V1CallOptions extends CallOptions {
  /** The header `containerd-lease`. */
  lease?: string;
}

/**
 * The unary methods of a generated client as functions that answer promises. Fields of a request that are not given are those of an empty
 * message; what is in a field is given whole.
 */
type Promising<Client> = {
  [Name in Exclude<keyof Client, keyof ServiceClient>]: Client[Name] extends UnaryMethod<infer Request, infer Response>
    ? (request?: Partial<Request>, options?: V1CallOptions) => Promise<Response>
    : never;
};

type ClientClass<Client> = new (
  address: string,
  credentials: ChannelCredentials,
  options: Partial<ClientOptions>,
) => Client;

/** A connection, and a namespace that all calls name. */
export class ApiV1 {
  readonly containers: Promising<ContainersClient>;
  readonly tasks: Promising<TasksClient>;
  readonly namespaces: Promising<NamespacesClient>;
  readonly leases: Promising<LeasesClient>;
  /** See {@link listSnapshots}. */
  readonly snapshots: Promising<SnapshotsClient>;
  readonly diff: Promising<DiffClient>;
  readonly content: Promising<ContentClient>;
  readonly images: Promising<ImagesClient>;
  readonly transfer: Promising<TransferClient>;
  readonly introspection: Promising<IntrospectionClient>;
  readonly version: Promising<VersionClient>;
  readonly health: Promising<HealthClient>;
  /** The engine's service, which is this project's own. */
  readonly engine: Promising<EngineClient>;
  readonly networks: Promising<NetworksClient>;
  readonly volumes: Promising<VolumesClient>;
  /** Publish and Forward; see {@link subscribe}. */
  readonly events: Promising<EventsClient>;
  readonly #channel: HealthClient;

  /**
   * @param address as grpc-js takes it
   * @param namespace "" for calls that name none
   * @param channel of another namespace, to share the connection
   */
  constructor(
    address: string,
    readonly namespace: string,
    channel?: HealthClient,
  ) {
    this.#channel =
      channel ??
      new HealthClient(address, credentials.createInsecure(), {
        "grpc.max_receive_message_length": -1,
        "grpc.initial_reconnect_backoff_ms": 50,
        "grpc.max_reconnect_backoff_ms": 500,
        "grpc.use_local_subchannel_pool": 1,
        "grpc.enable_http_proxy": 0,
      });
    this.containers = this.#promising(ContainersClient);
    this.tasks = this.#promising(TasksClient);
    this.namespaces = this.#promising(NamespacesClient);
    this.leases = this.#promising(LeasesClient);
    this.snapshots = this.#promising(SnapshotsClient);
    this.diff = this.#promising(DiffClient);
    this.content = this.#promising(ContentClient);
    this.images = this.#promising(ImagesClient);
    this.transfer = this.#promising(TransferClient);
    this.introspection = this.#promising(IntrospectionClient);
    this.version = this.#promising(VersionClient);
    this.health = this.#promising(HealthClient);
    this.events = this.#promising(EventsClient);
    this.engine = this.#promising(EngineClient);
    this.networks = this.#promising(NetworksClient);
    this.volumes = this.#promising(VolumesClient);
  }

  /** Another namespace, over the same connection. */
  in(namespace: string): ApiV1 {
    return new ApiV1("", namespace, this.#channel);
  }

  close(): void {
    this.#channel.close();
  }

  /** What happens from now on. Resolves when the daemon has the subscription: nothing that a later call brings about is missed. */
  async subscribe(...filters: string[]): Promise<EventsV1> {
    const wanted = filters.length === 0 ? [] : [...filters, `topic=="${PROBE}"`];
    const events = new EventsV1(this.#client(EventsClient).subscribe({ filters: wanted }, this.#metadata()));
    const probe: Any = { typeUrl: "test", value: Buffer.alloc(0) };
    // One that names no namespace hears of all, and none may be published without.
    const publisher = this.namespace === "" ? this.in("default") : this;
    await events.probed((topic) => publisher.events.publish({ topic, event: probe }));
    return events;
  }

  /** A method by its path, with an empty request. */
  call(path: string): Promise<Buffer> {
    const bytes = (value: Buffer) => value;
    const method: UnaryMethod<Buffer, Buffer> = (request, metadata, options, callback) =>
      this.#channel.makeUnaryRequest(path, bytes, bytes, request, metadata, options, (error, value) =>
        callback(error, value!),
      );
    return this.#unary(method, Buffer.alloc(0), {});
  }

  /** The engine's calls that are streams. */
  get engineStreams(): EngineClient {
    return this.#client(EngineClient);
  }

  /** Containers.ListStream. */
  listContainers(...filters: string[]) {
    const stream = this.#client(ContainersClient).listStream({ filters }, this.#metadata());
    return new MessageStream(stream, ({ container }) => container?.id);
  }

  /** Snapshots.List, to its end. */
  async listSnapshots(snapshotter: string, ...filters: string[]): Promise<SnapshotInfo[]> {
    const stream = this.#client(SnapshotsClient).list({ snapshotter, filters }, this.#metadata());
    const found: SnapshotInfo[] = [];
    for await (const { info } of stream) found.push(...info);
    return found;
  }

  /** Content.List. */
  listContent(...filters: string[]) {
    const stream = this.#client(ContentClient).list({ filters }, this.#metadata());
    return new MessageStream(stream, ({ info }) => info.map(({ digest }) => digest));
  }

  /** Content.Read. */
  readContent(digest: string, part: Partial<ReadContentRequest> = {}) {
    const stream = this.#client(ContentClient).read({ digest, offset: 0n, size: 0n, ...part }, this.#metadata());
    return new MessageStream(stream, ({ data }) => data.length);
  }

  /** Content.Write. */
  writeContent({ lease }: { lease?: string } = {}): ContentWriter {
    return new ContentWriter(this.#client(ContentClient).write(this.#metadata(lease)));
  }

  /** Streaming.Stream. */
  stream() {
    return this.#client(StreamingClient).stream(this.#metadata());
  }

  #metadata(lease?: string): Metadata {
    const metadata = new Metadata();
    if (this.namespace !== "") metadata.set("containerd-namespace", this.namespace);
    if (lease !== undefined) metadata.set("containerd-lease", lease);
    return metadata;
  }

  #client<Client>(Client: ClientClass<Client>): Client {
    return new Client("unused", credentials.createInsecure(), { channelOverride: this.#channel.getChannel() });
  }

  #promising<Client extends ServiceClient>(
    Client: ClientClass<Client> & { service: ServiceDefinition },
  ): Promising<Client> {
    const client = this.#client(Client);
    const calls = Object.entries(Client.service).map(([name, method]) => [
      name,
      (request: object = {}, options: V1CallOptions = {}) => {
        const call = client[name as keyof Client] as UnaryMethod<object, unknown>;
        return this.#unary(call.bind(client), { ...emptyRequest(method), ...request }, options);
      },
    ]);
    return Object.fromEntries(calls) as Promising<Client>;
  }

  #unary<Request, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    { signal, timeout = PATIENCE, lease }: V1CallOptions,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const cancel = () => call.cancel();
      const call = method(request, this.#metadata(lease), { deadline: Date.now() + timeout }, (error, response) => {
        signal?.removeEventListener("abort", cancel);
        if (error) reject(error);
        else resolve(response);
      });
      signal?.addEventListener("abort", cancel, { once: true });
      if (signal?.aborted) cancel();
    });
  }
}

/** What a call failed with: the name of the code, and the text. */
export async function refusal(call: Promise<unknown>): Promise<string> {
  const answer = await call.then(
    (value) => value,
    (error: ServiceError) => error,
  );
  if (!(answer instanceof Error)) throw new Error(`the call succeeded: ${inspect(answer)}`);
  const { code, details } = answer as ServiceError;
  return `${status[code]}: ${details}`;
}

/** A request with no field set. */
function emptyRequest({ requestDeserialize }: MethodDefinition<object, unknown>): object {
  return requestDeserialize(Buffer.alloc(0));
}

/** The messages of events, by the name that an Any gives them. */
const EVENTS = new Map<string, { decode(input: Uint8Array): object }>([
  ...messagesOf("containerd.events", {
    ...containerEvents,
    ...contentEvents,
    ...namespaceEvents,
    ...snapshotEvents,
    ...taskEvents,
  }),
  ...messagesOf("containerd.services.images.v1", imageEvents),
]);

function messagesOf<Message>(packageName: string, messages: Record<string, Message>): [string, Message][] {
  return Object.entries(messages).map(([name, message]) => [`${packageName}.${name}`, message]);
}

/** An event as a test looks at it: the envelope, with the message that is in it. */
export interface EventV1 extends Omit<Envelope, "event"> {
  /** The type of the message. */
  type: string;
  // biome-ignore lint/suspicious/noExplicitAny: each type of event has other fields
  event: Record<string, any>;
}

function eventOf({ event, ...envelope }: Envelope): EventV1 {
  const { typeUrl = "", value } = event ?? {};
  const message = EVENTS.get(typeUrl);
  return { ...envelope, type: typeUrl, event: message && value ? { ...message.decode(value) } : { value } };
}

/** What {@link ApiV1.subscribe} publishes to find out when a subscription is there. */
const PROBE = "/test/subscribed";

/** A subscription: keeps every event that it has seen. */
export class EventsV1 extends MessageStream<Envelope> {
  constructor(stream: ClientReadableStream<Envelope>) {
    super(stream, ({ topic, event }) => [topic, eventOf({ event } as Envelope).event]);
  }

  get events(): EventV1[] {
    return this.messages.filter(({ topic }) => topic !== PROBE).map(eventOf);
  }

  /** The first event with this topic and these fields, seen already or coming. */
  async waitFor(topic: string, fields: Record<string, unknown> = {}, timeout?: number): Promise<EventV1> {
    const matches = (envelope: Envelope) => {
      if (envelope.topic !== topic) return false;
      const { event } = eventOf(envelope);
      return Object.entries(fields).every(([name, value]) => event[name] === value);
    };
    return eventOf(await this.first(matches, `${topic} ${JSON.stringify(fields)}`, timeout));
  }

  /** What they tell of a container, one short text each: "create", "exec-started e", "exit c 137". */
  told(id: string): string[] {
    return this.events
      .filter(({ event }) => event.containerId === id || event.id === id)
      .map(({ topic, type, event }) =>
        [
          topic.replace(/^\/tasks\//, ""),
          event.execId ?? (type === "containerd.events.TaskExit" ? event.id : ""),
          type === "containerd.events.TaskExit" ? event.exitStatus : "",
        ]
          .join(" ")
          .trim(),
      );
  }

  /** @internal Resolves when it tells what `publish` publishes. */
  async probed(publish: (topic: string) => Promise<unknown>): Promise<void> {
    const seen = eventually(
      async () => {
        await publish(PROBE);
        return this.messages.some(({ topic }) => topic === PROBE);
      },
      { what: "a subscription" },
    );
    await Promise.race([seen, this.ended]);
  }
}
