import type { Metadata } from "@grpc/grpc-js";

/** What came with a call beside its request. */
export class CallMetadata {
  readonly #metadata: Metadata;

  constructor(metadata: Metadata) {
    this.#metadata = metadata;
  }

  /** Whose containers, images, … the call is about; undefined when the caller does not say. */
  get namespace(): string | undefined {
    return this.#first("containerd-namespace");
  }

  /** The lease that protects what the call creates from garbage collection; undefined: none. */
  get lease(): string | undefined {
    return this.#first("containerd-lease") || undefined;
  }

  #first(name: string): string | undefined {
    return this.#metadata.get(name)[0]?.toString();
  }
}

/** A call as its handler gets it. */
export interface Call<Request> {
  readonly request: Request;
  readonly metadata: CallMetadata;
  /** Aborted when the caller cancels or its deadline is over. */
  readonly signal: AbortSignal;
  /** Who calls: see peer.ts. */
  readonly peer: string;
}

/** A call that is answered with many messages. */
export interface StreamingCall<Request> extends Call<Request> {
  /** Before the first message. */
  sendHeaders(headers: Readonly<Record<string, string>>): void;
  /** Ends it with an error, also while a caller that does not read holds up its handler, whose signal is aborted. */
  fail(error: Error): void;
}
