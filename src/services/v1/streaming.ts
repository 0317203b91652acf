import { Failure, refusal } from "../../core/failure/failure.js";
import {
  StreamInit,
  type StreamingServer,
  StreamingService,
} from "../../proto/containerd/services/streaming/v1/streaming.js";
import type { Any } from "../../proto/google/protobuf/any.js";
import type { GrpcService } from "../grpc/server.js";
import type { FrontV1 } from "./front.js";

/** The answer to the first message of a stream: it can be named in other calls from then on. */
const READY: Any = { typeUrl: "google.protobuf.Empty", value: Buffer.alloc(0) };

/** In bytes: a name of a stream. */
const MAX_ID = 255;

/** Streams of messages that clients open beside a call which names them: its data, its progress, what it asks. */
export function streamingService(front: FrontV1, streams: Streams): GrpcService {
  const implementation: StreamingServer = {
    stream: front.namespacedExchange(async function* ({ namespace, request, signal }) {
      const messages = request[Symbol.asyncIterator]();
      const { value: first } = await messages.next();
      const stream = new ClientStream(messages, signal);
      const remove = streams.add(namespace, idOf(first), stream);
      try {
        yield READY;
        yield* stream.outgoing();
      } finally {
        remove();
      }
    }),
  };
  return { definition: StreamingService, implementation };
}

function idOf(first: Any | undefined): string {
  if (first === undefined || !isOf(first, "containerd.services.streaming.v1.StreamInit"))
    throw refusal("the first message of a stream must be a StreamInit, which names it");
  const { id } = StreamInit.decode(first.value);
  if (id === "" || Buffer.byteLength(id) > MAX_ID)
    throw refusal(`stream id ${JSON.stringify(id.slice(0, MAX_ID))}: of 1 to ${MAX_ID} bytes`);
  return id;
}

/** Whether an Any has a message of this type. */
export function isOf({ typeUrl }: Any, type: string): boolean {
  return typeUrl.slice(typeUrl.lastIndexOf("/") + 1) === type;
}

/** The streams that are open, by namespace and id. */
export class Streams {
  readonly #open = new Map<string, ClientStream>();

  /** @returns to be called when it is over. @throws Failure (already-exists) */
  add(namespace: string, id: string, stream: ClientStream): () => void {
    const key = `${namespace}/${id}`;
    if (this.#open.has(key)) throw new Failure("already-exists", "refused", { why: `stream ${JSON.stringify(id)}` });
    this.#open.set(key, stream);
    return () => this.#open.delete(key);
  }

  /** One that a call names. @throws Failure (not-found) */
  get(namespace: string, id: string): ClientStream {
    const stream = this.#open.get(`${namespace}/${id}`);
    if (stream === undefined)
      throw new Failure("not-found", "refused", { why: `stream ${JSON.stringify(id.slice(0, MAX_ID))}` });
    return stream;
  }
}

/** A stream of a client's, both ways. */
export class ClientStream {
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
  readonly #messages: AsyncIterator<Any>;
  readonly #waiting: { message: Any; taken: () => void }[] = [];
  #isOver = false;
  #wake = () => {};

  constructor(messages: AsyncIterator<Any>, signal: AbortSignal) {
    this.#messages = messages;
    this.signal = signal;
    signal.addEventListener("abort", () => this.end(), { once: true });
  }

  /** What the client sends next; undefined after the last. @throws the signal's reason when it has gone */
  async receive(): Promise<Any | undefined> {
    const next = await this.#messages.next();
    return next.done === true ? undefined : next.value;
  }

  /** Whether all that was sent is on its way. */
  get isIdle(): boolean {
    return this.#waiting.length === 0;
  }

  /** Resolves once it is on its way, as fast as the client takes it; at once when nobody does any more. */
  send(message: Any): Promise<void> {
    if (this.#isOver) return Promise.resolve();
    return new Promise((taken) => {
      this.#waiting.push({ message, taken });
      this.#wake();
    });
  }

  /** Nothing more is sent: the client hears of the end after all that was. */
  end(): void {
    this.#isOver = true;
    this.#wake();
  }

  /** @internal What goes to the client. */
  async *outgoing(): AsyncGenerator<Any> {
    try {
      for (;;) {
        const next = this.#waiting[0];
        if (next === undefined) {
          if (this.#isOver) return;
          await new Promise<void>((wake) => {
            this.#wake = wake;
          });
          continue;
        }
        yield next.message;
        this.#waiting.shift();
        next.taken();
      }
    } finally {
      this.#isOver = true;
      for (const { taken } of this.#waiting.splice(0)) taken();
    }
  }
}
