import { Metadata, type MethodDefinition, type ServiceError } from "@grpc/grpc-js";
import { withJson } from "../json.js";
import { deadlineAfter } from "../options/duration.js";
import { anyText, type Checks, checkOptions, quote } from "../options/option-checks.js";
import { type CallOptions, callChecks } from "./call-options.js";
import type { Connection, UnaryMethod } from "./connection.js";
import { Exchange } from "./exchange.js";
import { MessageStream } from "./message-stream.js";

/** What every call of containerd 1.x's API takes. */
export interface V1CallOptions extends CallOptions {
  /** The lease that protects what the call makes. */
  lease?: string | undefined;
}

const v1CallChecks: Checks<V1CallOptions> = { ...callChecks, lease: anyText };

/** A method as it is generated; `any` is what takes every message. */
// biome-ignore lint/suspicious/noExplicitAny: a method of any messages
type Method = MethodDefinition<any, any> & { requestStream: boolean; responseStream: boolean };

type RequestOf<M extends Method> = ReturnType<M["requestDeserialize"]>;
type ResponseOf<M extends Method> = ReturnType<M["responseDeserialize"]>;

/**
 * A method of a service: fields of a request that are not given are those of an empty message, what is in a field is given whole. An answer
 * that is a stream is read with `for await`; a method that takes a stream of requests, too, is an {@link Exchange}.
 */
export type V1Call<M extends Method> = M["requestStream"] extends true
  ? (options?: V1CallOptions) => Promise<Exchange<RequestOf<M>, ResponseOf<M>>>
  : M["responseStream"] extends true
    ? (request?: Partial<RequestOf<M>>, options?: V1CallOptions) => Promise<MessageStream<ResponseOf<M>>>
    : (request?: Partial<RequestOf<M>>, options?: V1CallOptions) => Promise<ResponseOf<M>>;

export type V1Service<Definition> = {
  readonly [Name in keyof Definition]: Definition[Name] extends Method ? V1Call<Definition[Name]> : never;
};

/** Makes services of what is generated: all calls over one connection, about one namespace. */
export class Services {
  readonly #connection: Connection;
  readonly #namespace: string;

  constructor(connection: Connection, namespace: string) {
    this.#connection = connection;
    this.#namespace = namespace;
  }

  of<Definition extends object>(definition: Definition): V1Service<Definition> {
    const calls = Object.entries<Method>(definition as Record<string, Method>).map(([name, method]) => [
      name,
      method.requestStream
        ? (options: V1CallOptions = {}) => this.#exchange(method, options)
        : method.responseStream
          ? (request: object = {}, options: V1CallOptions = {}) => this.#stream(method, request, options)
          : (request: object = {}, options: V1CallOptions = {}) => this.#unary(method, request, options),
    ]);
    return Object.fromEntries(calls);
  }

  async #unary(method: Method, fields: object, options: V1CallOptions): Promise<object> {
    checkOptions(options, v1CallChecks);
    const { path, requestSerialize, responseDeserialize } = method;
    const request = wholeRequest(method, fields);
    const { service } = this.#connection;
    const call: UnaryMethod<object, object> = (message, _, limits, respond) =>
      service.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        message,
        this.#metadata(options),
        limits,
        (error, response) => respond(error, response!),
      );
    return withJson(await this.#connection.unary(call, request, options));
  }

  async #stream(method: Method, fields: object, options: V1CallOptions): Promise<MessageStream<object>> {
    checkOptions(options, v1CallChecks);
    const { signal, timeout } = options;
    const { path, requestSerialize, responseDeserialize } = method;
    const request = wholeRequest(method, fields);
    await this.#connection.ready(signal, timeout);
    const call = this.#connection.service.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      this.#metadata(options),
      deadlineAfter(timeout),
    );
    return new MessageStream<object>({ call, ...this.#follow(call, options) });
  }

  async #exchange(method: Method, options: V1CallOptions): Promise<Exchange<object, object>> {
    checkOptions(options, v1CallChecks);
    const { signal, timeout } = options;
    const { path, requestSerialize, responseDeserialize } = method;
    await this.#connection.ready(signal, timeout);
    const call = this.#connection.service.makeBidiStreamRequest<object, object>(
      path,
      requestSerialize,
      responseDeserialize,
      this.#metadata(options),
      deadlineAfter(timeout),
    );
    return new Exchange(call, this.#follow(call, options));
  }

  /** Has a call with streams end with the connection. */
  #follow(call: Parameters<Connection["track"]>[0], { signal, timeout }: V1CallOptions) {
    this.#connection.track(call);
    const explain = (error: ServiceError) => this.#connection.explain(error, undefined, timeout);
    return { signal, explain };
  }

  #metadata({ lease }: V1CallOptions): Metadata {
    const metadata = new Metadata();
    metadata.set("containerd-namespace", this.#namespace);
    if (lease !== undefined) metadata.set("containerd-lease", lease);
    return metadata;
  }
}

/** @throws TypeError for a field that the message does not have: protobuf would pass over it */
function wholeRequest({ requestDeserialize }: Method, fields: object): object {
  const empty: object = requestDeserialize(Buffer.alloc(0));
  for (const [field, value] of Object.entries(fields)) {
    if (Object.hasOwn(empty, field)) continue;
    throw new TypeError(`unknown field ${field} (${quote(value)}), allowed are ${Object.keys(empty).join(", ")}`);
  }
  return { ...empty, ...fields };
}
