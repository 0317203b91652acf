import { once } from "node:events";
import type { ClientDuplexStream } from "@grpc/grpc-js";
import { MessageStream, type StreamingCall } from "./message-stream.js";

/** A call with a stream of messages in each direction: answers are read with `for await`. */
export class Exchange<Request, Response> extends MessageStream<Response> {
  readonly #call: ClientDuplexStream<Request, Response>;

  /** @internal */
  constructor(call: ClientDuplexStream<Request, Response>, source: Omit<StreamingCall<Response>, "call">) {
    super({ ...source, call });
    this.#call = call;
  }

  /** Resolves when there is room for the next one. After the call's end it goes nowhere: what was answered tells of the end. */
  async send(request: Request): Promise<void> {
    if (this.#call.destroyed || this.#call.write(request)) return;
    const settled = new AbortController();
    const { signal } = settled;
    const events = ["drain", "close", "error", "end"].map((event) => once(this.#call, event, { signal }));
    await Promise.race(events).catch(() => {});
    settled.abort();
    for (const event of events) event.catch(() => {});
  }

  /** All has been sent. */
  end(): void {
    this.#call.end();
  }

  /** Ends the call at once, in both directions. */
  cancel(): void {
    this.#call.cancel();
  }
}
