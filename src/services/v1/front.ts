import type { handleBidiStreamingCall, handleServerStreamingCall, handleUnaryCall } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { Failure } from "../../core/failure/failure.js";
import { checkIdentifier } from "../../core/metadata/identifier.js";
import type { Call, StreamingCall } from "../grpc/call.js";
import { bidirectional, type Front, serverStream, unary } from "../grpc/handlers.js";
import { codeOf, wordsOf } from "./words.js";

/** A call about the things of one namespace. */
export interface NamespacedCall<Request> extends Call<Request> {
  readonly namespace: string;
}

/** Makes the handlers of containerd 1.x's services. */
export class FrontV1 implements Front {
  readonly words = wordsOf;
  readonly code = codeOf;
  readonly log: Logger;
  readonly #ready: Promise<void>;
  #isReady = false;

  /** @param ready resolves once the tasks of an earlier daemon are known: before that any answer could be wrong */
  constructor(log: Logger, ready: Promise<void>) {
    this.log = log;
    this.#ready = ready;
    ready.then(
      () => {
        this.#isReady = true;
      },
      // Each call hears of it.
      () => {},
    );
  }

  /** A call that is about no namespace. */
  general<Request, Response>(
    handle: (call: Call<Request>) => Response | Promise<Response>,
  ): handleUnaryCall<Request, Response> {
    return unary(this, async (call: Call<Request>) => {
      if (!this.#isReady) {
        await this.#ready;
        call.signal.throwIfAborted();
      }
      return await handle(call);
    });
  }

  /** A call about the things of a namespace; one that names none is refused. */
  namespaced<Request, Response>(
    handle: (call: NamespacedCall<Request>) => Response | Promise<Response>,
  ): handleUnaryCall<Request, Response> {
    return this.general((call) => handle(Object.assign(call, { namespace: namespaceOf(call) })));
  }

  /** As {@link general}, for a call that is answered with a stream. */
  generalStream<Request, Response>(
    handle: (call: StreamingCall<Request>) => AsyncIterable<Response>,
  ): handleServerStreamingCall<Request, Response> {
    return serverStream(this, async (call: StreamingCall<Request>) => {
      await this.#ready;
      call.signal.throwIfAborted();
      return handle(call);
    });
  }

  /** As {@link namespaced}, for a call that is answered with a stream. */
  namespacedStream<Request, Response>(
    handle: (call: StreamingCall<Request> & NamespacedCall<Request>) => AsyncIterable<Response>,
  ): handleServerStreamingCall<Request, Response> {
    return this.generalStream((call) => handle({ ...call, namespace: namespaceOf(call) }));
  }

  /** As {@link namespacedStream}, for a call whose request is a stream, too. */
  namespacedExchange<Request, Response>(
    handle: (call: NamespacedCall<AsyncIterable<Request>>) => AsyncIterable<Response>,
  ): handleBidiStreamingCall<Request, Response> {
    return bidirectional(this, async (call: StreamingCall<AsyncIterable<Request>>) => {
      await this.#ready;
      call.signal.throwIfAborted();
      return handle({ ...call, namespace: namespaceOf(call) });
    });
  }
}

/** The namespace that a call is about. Throws Failure: failed-precondition when it names none, invalid-argument for what can't be one. */
export function namespaceOf({ metadata }: Pick<Call<unknown>, "metadata">): string {
  const { namespace } = metadata;
  if (namespace === undefined || namespace === "") {
    throw new Failure("failed-precondition", "refused", { why: "namespace is required" });
  }
  checkIdentifier(namespace, "namespace validation: ");
  return namespace;
}
