import { type EventEmitter, once } from "node:events";
import {
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServerWritableStream,
} from "@grpc/grpc-js";
import type { Logger } from "pino";
import { Failure } from "../../core/failure/failure.js";
import { logText } from "../../core/failure/log-text.js";
import { type Call, CallMetadata, type StreamingCall } from "./call.js";
import { type ErrorWords, serviceError } from "./status.js";

/** What the calls of one API have in common. */
export interface Front extends ErrorWords {
  log: Logger;
}

/** The messages that a call is answered with. */
type Answers<Response> = AsyncIterable<Response> | Promise<AsyncIterable<Response>>;

/** What the calls of every kind have. */
type AnyCall = Pick<ServerUnaryCall<unknown, unknown>, "metadata" | "getPeer" | "getDeadline"> & EventEmitter;

/** A unary call: what the handler returns is the response, what it throws the status. */
export function unary<Request, Response>(
  front: Front,
  handle: (call: Call<Request>) => Response | Promise<Response>,
): handleUnaryCall<Request, Response> {
  return (call, respond) => {
    const unaryCall = new UnaryCall(call);
    const run = async () => handle(unaryCall);
    run()
      .finally(() => unaryCall.answered())
      .then(
        (response) => respond(null, response),
        (error: unknown) => respond(serviceError(error, front)),
      )
      // A call that can't be answered must not affect the others.
      .catch((error: unknown) => front.log.error({ error: logText(error) }, "containerd: answer a call"));
  };
}

/** Makes what belongs to it when it is asked for: most calls are answered at once, and look at nothing but their request. */
class UnaryCall<Request> implements Call<Request> {
  readonly request: Request;
  readonly metadata: CallMetadata;
  readonly #call: ServerUnaryCall<Request, unknown>;
  #signal: AbortSignal | undefined;
  #isAnswered = false;
  #answered = () => {};

  constructor(call: ServerUnaryCall<Request, unknown>) {
    this.request = call.request;
    this.metadata = new CallMetadata(call.metadata);
    this.#call = call;
  }

  get peer(): string {
    return this.#call.getPeer();
  }

  get signal(): AbortSignal {
    if (this.#signal === undefined) {
      const ended = new AbortController();
      this.#signal = ended.signal;
      // To grpc-js an answered one is cancelled, too.
      if (this.#isAnswered) return this.#signal;
      if (this.#call.cancelled) ended.abort(whyEnded(this.#call));
      else this.#answered = abortAtEnd(this.#call, ended);
    }
    return this.#signal;
  }

  /** What ends from now on is no cancellation. */
  answered(): void {
    this.#isAnswered = true;
    this.#answered();
  }
}

/**
 * A call whose request is a stream, which is read as fast as the handler takes it; what the handler returns is the response, what it throws
 * the status. The requests end with an error when the caller goes away without saying that this was all.
 */
export function clientStream<Request, Response>(
  front: Front,
  handle: (call: Call<AsyncIterable<Request>>) => Promise<Response>,
): handleClientStreamingCall<Request, Response> {
  return (call, respond) => {
    const ended = new AbortController();
    const answered = abortAtEnd(call, ended);
    const requests = untilHalfClosed(call, call.iterator({ destroyOnReturn: false }), ended.signal);
    const run = async () => handle(callOf(call, requests, ended.signal));
    run()
      .finally(answered)
      .then(
        (response) => respond(null, response),
        (error: unknown) => respond(serviceError(error, front)),
      )
      .catch((error: unknown) => front.log.error({ error: logText(error) }, "containerd: answer a call"));
  };
}

/**
 * A call that is answered with a stream of messages, one after the other as the caller takes them. The handler's signal is aborted when
 * nobody takes any more; what it waits for has to end then. What it throws is the status, after what it has yielded.
 */
export function serverStream<Request, Response>(
  front: Front,
  handle: (call: StreamingCall<Request>) => Answers<Response>,
): handleServerStreamingCall<Request, Response> {
  return (call) => answerWithStream(front, call, () => call.request, handle);
}

/** As {@link serverStream}; the request is a stream as well, which ends when the caller has sent all. */
export function bidirectional<Request, Response>(
  front: Front,
  handle: (call: StreamingCall<AsyncIterable<Request>>) => Answers<Response>,
): handleBidiStreamingCall<Request, Response> {
  return (call) => {
    // A handler that reads no further has still to send its answer.
    const requests = call.iterator({ destroyOnReturn: false }) as AsyncIterable<Request>;
    answerWithStream(front, call, (signal) => untilHalfClosed(call, requests, signal), handle);
  };
}

/** All that a caller sends. @throws the signal's reason when it has gone, and not said that this is all */
async function* untilHalfClosed<Request>(
  call: Pick<ServerDuplexStream<unknown, unknown>, "sendMetadata">,
  requests: AsyncIterable<Request>,
  signal: AbortSignal,
): AsyncGenerator<Request> {
  yield* requests;
  // Both ends look the same, and grpc-js only finds out which it is when something is to be sent: headers, if they are not sent yet.
  call.sendMetadata(new Metadata());
  await new Promise(setImmediate);
  signal.throwIfAborted();
}

function answerWithStream<Request, Response>(
  front: Front,
  call: ServerWritableStream<unknown, Response> | ServerDuplexStream<unknown, Response>,
  requestOf: (signal: AbortSignal) => Request,
  handle: (call: StreamingCall<Request>) => Answers<Response>,
): void {
  const ended = new AbortController();
  const { signal } = ended;
  const answered = abortAtEnd(call, ended);
  const fail = (error: unknown) => {
    if (signal.aborted) return;
    answered();
    ended.abort(error);
    // Ends it after what has been written; `destroy` would end it without a status.
    call.emit("error", serviceError(error, front));
  };
  const sendHeaders = (headers: Readonly<Record<string, string>>) => {
    const metadata = new Metadata();
    for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
    call.sendMetadata(metadata);
  };
  const run = async () => {
    const request = requestOf(signal);
    for await (const message of await handle({ ...callOf(call, request, signal), sendHeaders, fail })) {
      if (!signal.aborted && !call.write(message)) await once(call, "drain", { signal }).catch(() => {});
      // Nobody takes any more; leaving the loop has the handler let go of what it holds.
      if (signal.aborted) return;
    }
    if (signal.aborted) return;
    answered();
    call.end();
  };
  run().catch(fail);
}

function callOf<Request>(call: AnyCall, request: Request, signal: AbortSignal): Call<Request> {
  return { request, metadata: new CallMetadata(call.metadata), signal, peer: call.getPeer() };
}

/**
 * Has the signal aborted when the caller has gone or is not to be answered any more.
 * @returns to be called when the call is answered: grpc-js tells the end of every call, however it came to it
 */
function abortAtEnd(call: AnyCall, ended: AbortController): () => void {
  const end = () => ended.abort(whyEnded(call));
  call.once("cancelled", end);
  return () => call.off("cancelled", end);
}

function whyEnded(call: AnyCall): Failure {
  return Number(call.getDeadline()) <= Date.now()
    ? new Failure("deadline-exceeded", "call-too-late", {})
    : new Failure("cancelled", "call-cancelled", {});
}
