/** The daemon's API as Docker Engine 1.12 – 17.10 calls it: one connection, the socket's path as `:authority`, no gRPC library. */
import { once } from "node:events";
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  type IncomingHttpHeaders,
} from "node:http2";
import { connect } from "node:net";
import * as wire from "../../src/proto/containerd.js";
import { HealthCheckRequest, HealthCheckResponse } from "../../src/proto/health.js";
import type { Partially } from "../harness/api.js";

/** What the authority is on a machine with Docker; where the test's socket is makes no difference. */
const AUTHORITY = "/var/run/docker/libcontainerd/docker-containerd.sock";

interface Codec<Message> {
  fromPartial: (object: never) => Message;
  encode: (message: Message) => { finish(): Uint8Array };
  decode: (bytes: Uint8Array) => Message;
}

const methods = {
  GetServerVersion: [wire.GetServerVersionRequest, wire.GetServerVersionResponse],
  CreateContainer: [wire.CreateContainerRequest, wire.CreateContainerResponse],
  UpdateContainer: [wire.UpdateContainerRequest, wire.UpdateContainerResponse],
  Signal: [wire.SignalRequest, wire.SignalResponse],
  UpdateProcess: [wire.UpdateProcessRequest, wire.UpdateProcessResponse],
  AddProcess: [wire.AddProcessRequest, wire.AddProcessResponse],
  CreateCheckpoint: [wire.CreateCheckpointRequest, wire.CreateCheckpointResponse],
  State: [wire.StateRequest, wire.StateResponse],
  Stats: [wire.StatsRequest, wire.StatsResponse],
} as const;
type Methods = typeof methods;
type Request<Name extends keyof Methods> = Partially<ReturnType<Methods[Name][0]["decode"]>>;
type Response<Name extends keyof Methods> = ReturnType<Methods[Name][1]["decode"]>;

/** A status other than OK; the message is as it was on the wire: grpc-go of 2016 does not decode it. */
export class StatusError extends Error {
  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}

function framed(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  return Buffer.concat([prefix, message]);
}

export class DockerClient implements Disposable {
  readonly #session: ClientHttp2Session;

  constructor(path: string) {
    this.#session = connectHttp2("http://docker", { createConnection: () => connect(path) });
    this.#session.on("error", () => {});
    // Docker's windows: 1 MiB for the connection.
    this.#session.on("connect", () => {
      if (!this.#session.destroyed) this.#session.setLocalWindowSize(65_535 + 983_025);
    });
  }

  async call<Name extends keyof Methods>(name: Name, request: Request<Name>): Promise<Response<Name>> {
    const [input, output] = methods[name] as unknown as [Codec<unknown>, Codec<Response<Name>>];
    return this.#unary(`/types.API/${name}`, input, output, request);
  }

  /** Health/Check with the deadline that Docker sets. */
  async health(): Promise<number> {
    const { status } = await this.#unary<HealthCheckResponse>(
      "/grpc.health.v1.Health/Check",
      HealthCheckRequest as Codec<unknown>,
      HealthCheckResponse as Codec<HealthCheckResponse>,
      { service: "" },
      { "grpc-timeout": "3000000u" },
    );
    return status;
  }

  /** A subscription. Docker ends its side with an empty DATA frame of its own. */
  events(request: Partially<wire.EventsRequest>): DockerEvents {
    const stream = this.#request("/types.API/Events");
    stream.write(framed(wire.EventsRequest.encode(wire.EventsRequest.fromPartial(request as never)).finish()), () =>
      setImmediate(() => stream.end()),
    );
    return new DockerEvents(stream);
  }

  async #unary<Answer>(
    path: string,
    input: Codec<unknown>,
    output: Codec<Answer>,
    request: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const stream = this.#request(path, headers);
    const received: IncomingHttpHeaders = {};
    const chunks: Buffer[] = [];
    stream.on("response", (part) => Object.assign(received, part));
    stream.on("trailers", (part) => Object.assign(received, part));
    stream.on("data", (chunk) => chunks.push(chunk));
    stream.end(framed(input.encode(input.fromPartial(request as never)).finish()));
    await once(stream, "close");
    const status = received["grpc-status"];
    if (status !== "0") throw new StatusError(Number(status), String(received["grpc-message"]));
    return output.decode(Buffer.concat(chunks).subarray(5));
  }

  #request(path: string, headers: Record<string, string> = {}): ClientHttp2Stream {
    return this.#session.request(
      {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": AUTHORITY,
        "content-type": "application/grpc",
        "user-agent": "grpc-go/1.3.0",
        te: "trailers",
        ...headers,
      },
      { endStream: false },
    );
  }

  [Symbol.dispose](): void {
    this.#session.destroy();
  }
}

/** What a subscription has received. */
export class DockerEvents implements Disposable {
  readonly events: wire.Event[] = [];
  /** grpc-status, once the stream has ended. */
  status: string | undefined;
  readonly #stream: ClientHttp2Stream;

  constructor(stream: ClientHttp2Stream) {
    this.#stream = stream;
    let rest = Buffer.alloc(0);
    const ended = (headers: IncomingHttpHeaders) => {
      if (headers["grpc-status"] !== undefined) this.status = String(headers["grpc-status"]);
    };
    stream.on("response", ended);
    stream.on("trailers", ended);
    stream.on("error", () => {});
    stream.on("data", (chunk: Buffer) => {
      rest = Buffer.concat([rest, chunk]);
      while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
        const end = 5 + rest.readUInt32BE(1);
        this.events.push(wire.Event.decode(rest.subarray(5, end)));
        rest = rest.subarray(end);
      }
    });
  }

  /** "type pid" of each event of a container. */
  of(id: string): string[] {
    return this.events.filter((event) => event.id === id).map(({ type, pid }) => `${type} ${pid}`.trim());
  }

  [Symbol.dispose](): void {
    this.#stream.destroy();
  }
}
