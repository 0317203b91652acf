import type { ClientReadableStream, Metadata, ServiceError } from "@grpc/grpc-js";
import { withJson } from "../json.js";
import { parseTimestamp, type Timestamp } from "../timestamp.js";

/** What {@link MessageStream} needs of a server-streaming call. */
export interface StreamingCall<T> {
  readonly call: ClientReadableStream<T>;
  readonly signal: AbortSignal | undefined;
  /** Turns what grpc-js reports into the error to throw. */
  explain(error: ServiceError): Promise<Error>;
}

/**
 * The messages of a server-streaming call, read with `for await`. The call runs from the start, not from the first
 * read; it ends when the reader leaves the loop, at `return()` or when the signal aborts. A reader that is slow holds
 * back the daemon (HTTP/2's flow control), not memory.
 */
export class MessageStream<T> implements AsyncIterableIterator<T> {
  readonly #source: StreamingCall<T>;
  readonly #messages: AsyncIterator<T>;
  readonly #abort = () => this.#source.call.cancel();
  #failure: unknown;
  #lastEvent: Timestamp | undefined;

  /** @internal */
  constructor(source: StreamingCall<T>) {
    this.#source = source;
    // Errors that arrive while nobody is reading wait for the next read.
    source.call.on("error", (error) => {
      this.#failure ??= error;
    });
    source.call.once("metadata", (headers: Metadata) => {
      const [time] = headers.get("containerd-last-event");
      if (time !== undefined) this.#lastEvent = parseTimestamp(String(time));
    });
    this.#messages = source.call[Symbol.asyncIterator]() as AsyncIterator<T>;
    source.signal?.addEventListener("abort", this.#abort, { once: true });
    if (source.signal?.aborted) this.#abort();
  }

  /** The time of the newest event before those of this stream, as the daemon says it when the stream begins. @internal */
  get lastEvent(): Timestamp | undefined {
    return this.#lastEvent;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    try {
      const result = await this.#messages.next();
      if (!result.done) {
        withJson(result.value);
        return result;
      }
      // A stream that failed between two reads looks finished to its iterator.
      if (this.#failure) throw this.#failure;
      this.#detach();
      this.#source.signal?.throwIfAborted();
      return { done: true, value: undefined };
    } catch (error) {
      this.#detach();
      if (this.#source.signal?.aborted) throw this.#source.signal.reason;
      throw await this.#source.explain(error as ServiceError);
    }
  }

  async return(): Promise<IteratorResult<T, undefined>> {
    this.#detach();
    this.#source.call.cancel();
    return { done: true, value: undefined };
  }

  #detach(): void {
    this.#source.signal?.removeEventListener("abort", this.#abort);
  }
}
