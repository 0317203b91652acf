import {
  type ChannelOptions,
  type ClientOptions,
  type ClientUnaryCall,
  connectivityState,
  credentials,
  type CallOptions as GrpcCallOptions,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import type { Address } from "../../contract/address.js";
import { APIClient } from "../../proto/containerd.js";
import { HealthClient } from "../../proto/health.js";
import { ContainerdError, fromServiceError } from "../errors/containerd-error.js";
import { deadlineAfter, MAX_TIMER, positiveDuration } from "../options/duration.js";
import { type Checks, object, that } from "../options/option-checks.js";
import type { CallOptions } from "./call-options.js";
import { type TlsOptions, whyUnreachable } from "./unreachable.js";

export interface ConnectionOptions {
  /** Milliseconds a daemon that accepts connections may take to answer the handshake. Default: 1000. */
  connectTimeout?: number | undefined;
  tls?: TlsOptions | undefined;
}

const pem = that("a PEM text or a Buffer of one", (value) => typeof value === "string" || value instanceof Uint8Array);

export const connectionChecks: Checks<ConnectionOptions> = {
  connectTimeout: positiveDuration,
  tls: object<TlsOptions>({ ca: pem, cert: pem, key: pem }),
};

/** One method of the generated client. */
export type UnaryMethod<Request, Response> = (
  request: Request,
  metadata: Metadata,
  options: Partial<GrpcCallOptions>,
  callback: (error: ServiceError | null, response: Response) => void,
) => ClientUnaryCall;

/** One HTTP/2 connection to a daemon; made at the first call, and again when it was lost. */
export class Connection {
  readonly address: Address;
  readonly #service: APIClient;
  readonly health: HealthClient;
  readonly #connectTimeout: number;
  readonly #tls: TlsOptions | undefined;
  readonly #calls = new Set<Cancellable>();
  #closed = false;
  #reached = false;

  /** @param channelOptions for grpc-js, over those that are set here */
  constructor(
    address: Address,
    { connectTimeout = 1000, tls }: ConnectionOptions = {},
    channelOptions: ChannelOptions = {},
  ) {
    this.address = address;
    // A daemon that does not even answer a handshake for so long does not count as one.
    this.#connectTimeout = Math.min(connectTimeout, MAX_TIMER);
    this.#tls = address.kind === "tcp" ? tls : undefined;
    const target = address.kind === "unix" ? `unix:${address.path}` : `dns:${address.text.slice("tcp://".length)}`;
    const options: ClientOptions = {
      // State of thousands of containers is larger than the default of 4 MB.
      "grpc.max_receive_message_length": -1,
      // A restarted daemon is found again at once, not after a second or, later, minutes.
      "grpc.initial_reconnect_backoff_ms": 50,
      "grpc.max_reconnect_backoff_ms": 500,
      "grpc.use_local_subchannel_pool": 1,
      "grpc.enable_http_proxy": 0,
      ...channelOptions,
    };
    const bytes = (pem: Buffer | string | undefined) => (pem === undefined ? null : Buffer.from(pem));
    const channel = this.#tls
      ? credentials.createSsl(bytes(this.#tls.ca), bytes(this.#tls.key), bytes(this.#tls.cert))
      : credentials.createInsecure();
    this.#service = new APIClient(target, channel, options);
    this.health = new HealthClient(target, channel, { ...options, channelOverride: this.#service.getChannel() });
  }

  /** @throws ContainerdError once the client is closed */
  get service(): APIClient {
    if (this.#closed) throw closedError();
    return this.#service;
  }

  async unary<Request, Response>(
    method: UnaryMethod<Request, Response>,
    request: Request,
    { signal, timeout }: CallOptions = {},
    containerId?: string,
  ): Promise<Response> {
    const deadline = deadlineAfter(timeout);
    await this.ready(signal, timeout);
    // It may have been closed since.
    if (this.#closed) throw closedError();
    return new Promise<Response>((resolve, reject) => {
      const call = method(request, new Metadata(), deadline, (error, response) => {
        signal?.removeEventListener("abort", cancel);
        this.#calls.delete(call);
        if (!error) resolve(response);
        else if (signal?.aborted) reject(signal.reason);
        else this.explain(error, containerId, timeout).then(reject);
      });
      this.#calls.add(call);
      const cancel = () => call.cancel();
      signal?.addEventListener("abort", cancel, { once: true });
      if (signal?.aborted) cancel();
    });
  }

  /** Whether there ever was a daemon: one that is away now is then being restarted, perhaps. */
  get reached(): boolean {
    return this.#reached;
  }

  /**
   * Resolves at once while the connection stands, else when it has been made.
   *
   * @throws ContainerdError UNAVAILABLE in one line with the address and the reason, or the signal's reason.
   */
  async ready(signal?: AbortSignal, timeout = Number.POSITIVE_INFINITY): Promise<void> {
    signal?.throwIfAborted();
    const channel = this.service.getChannel();
    if (channel.getConnectivityState(false) === connectivityState.READY) {
      this.#reached = true;
      return;
    }
    const patience = Math.min(this.#connectTimeout, timeout);
    const deadline = Date.now() + patience;
    let refused = false;
    for (;;) {
      const state = channel.getConnectivityState(true);
      if (state === connectivityState.READY) {
        this.#reached = true;
        return;
      }
      if (state === connectivityState.TRANSIENT_FAILURE) {
        const reason = await whyUnreachable(this.address, Math.max(1, deadline - Date.now()), this.#tls);
        signal?.throwIfAborted();
        if (this.#closed) throw closedError();
        if (reason !== undefined) throw this.unreachable(reason);
        refused = true;
      }
      const changed = await new Promise<boolean>((resolve) => {
        const aborted = () => resolve(true);
        signal?.addEventListener("abort", aborted, { once: true });
        channel.watchConnectivityState(state, deadline, (error) => {
          signal?.removeEventListener("abort", aborted);
          resolve(error === undefined);
        });
      });
      signal?.throwIfAborted();
      if (this.#closed) throw closedError();
      if (changed) continue;
      if (timeout < this.#connectTimeout) throw timeoutError(timeout);
      const hint = refused && this.address.kind === "tcp" && !this.#tls ? "; does it want TLS?" : "";
      throw this.unreachable(`no answer within ${patience} ms${hint}`);
    }
  }

  /** The error to throw for what grpc-js reports; looks for the real reason when the daemon has gone. */
  async explain(error: ServiceError, containerId?: string, timeout?: number): Promise<ContainerdError> {
    if (this.#closed) return closedError();
    const ours = fromServiceError(error, containerId);
    // grpc-js's own words; a daemon's DEADLINE_EXCEEDED has others, which are kept.
    if (ours.code === "DEADLINE_EXCEEDED" && error.details.startsWith("Deadline exceeded"))
      return new ContainerdError("DEADLINE_EXCEEDED", `no answer from containerd within ${timeout} ms`, {
        containerId,
      });
    if (
      ours.code === "UNIMPLEMENTED" &&
      /(?:unknown service|does not implement) ?.*containerdts\.engine\./.test(ours.message)
    )
      return new ContainerdError(
        "UNIMPLEMENTED",
        `what listens at ${this.address.text} makes no containers of images (${ours.message}): ` +
          "this project's daemon of this version does; for another address: connect(address), or CONTAINERD_ADDRESS",
        { containerId },
      );
    if (
      ours.code === "UNIMPLEMENTED" &&
      /(?:unknown service|does not implement) ?.*containerd\.services\./.test(ours.message)
    )
      return new ContainerdError(
        "UNIMPLEMENTED",
        `what listens at ${this.address.text} has no such service (${ours.message}): this project's daemon has it, ` +
          "and containerd 1.7 and later",
        { containerId },
      );
    // What is there answers, but has no such service; that of containerd 1.x has the same default address.
    if (ours.code === "UNIMPLEMENTED" && /unknown service|does not implement/.test(ours.message))
      return new ContainerdError(
        "UNIMPLEMENTED",
        `what listens at ${this.address.text} is no containerd 0.2, but perhaps the containerd 1.x of Docker or Kubernetes ` +
          `(${ours.message}); give the address of this one: connect(address), or CONTAINERD_ADDRESS`,
        { containerId },
      );
    if (ours.code !== "UNAVAILABLE") return ours;
    const reason = await whyUnreachable(this.address, this.#connectTimeout, this.#tls);
    return reason === undefined ? ours : this.unreachable(reason, containerId);
  }

  unreachable(reason: string, containerId?: string): ContainerdError {
    const message = `cannot reach containerd at ${this.address.text}: ${reason}`;
    return new ContainerdError("UNAVAILABLE", message, { containerId });
  }

  /** Has a call that is no unary one ended with the connection. */
  track(call: Cancellable & { once(event: "close" | "end" | "error", listener: () => void): unknown }): void {
    this.#calls.add(call);
    const forget = () => this.#calls.delete(call);
    for (const event of ["close", "end", "error"] as const) call.once(event, forget);
  }

  close(): void {
    this.#closed = true;
    for (const call of this.#calls) call.cancel();
    this.#service.close();
  }
}

interface Cancellable {
  cancel(): void;
}

/** What calls of a closed client fail with. */
export function closedError(): ContainerdError {
  return new ContainerdError("FAILED_PRECONDITION", "the client is closed", { kind: "closed" });
}

/** What a call fails with that was not answered in time. @param timeout in ms */
export function timeoutError(timeout: number | undefined, containerId?: string): ContainerdError {
  return new ContainerdError("DEADLINE_EXCEEDED", `no answer from containerd within ${timeout} ms`, { containerId });
}
