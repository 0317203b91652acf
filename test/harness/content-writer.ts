import { createHash } from "node:crypto";
import type { ClientDuplexStream } from "@grpc/grpc-js";
import {
  WriteAction,
  WriteContentRequest,
  type WriteContentResponse,
} from "../../src/proto/containerd/services/content/v1/content.js";
import { MessageStream } from "./message-stream.js";

export type WriteRequest = Partial<Omit<WriteContentRequest, "action">>;

/** A call of Content.Write: each message of it waits for its answer. */
export class ContentWriter implements Disposable {
  readonly #stream: ClientDuplexStream<WriteContentRequest, WriteContentResponse>;
  readonly answers: MessageStream<WriteContentResponse>;
  #sent = 0;

  constructor(stream: ClientDuplexStream<WriteContentRequest, WriteContentResponse>) {
    this.#stream = stream;
    this.answers = new MessageStream(stream, ({ offset }) => offset);
  }

  /** Sends without waiting. */
  send(action: WriteAction, request: WriteRequest): void {
    this.#sent++;
    this.#stream.write({ ...WriteContentRequest.fromPartial({}), ...request, action });
  }

  stat(request: WriteRequest): Promise<WriteContentResponse> {
    return this.#ask(WriteAction.STAT, request);
  }

  write(request: WriteRequest): Promise<WriteContentResponse> {
    return this.#ask(WriteAction.WRITE, request);
  }

  commit(request: WriteRequest): Promise<WriteContentResponse> {
    return this.#ask(WriteAction.COMMIT, request);
  }

  /** Sends no more. Resolves at the call's end. */
  async end(): Promise<void> {
    this.#stream.end();
    await this.answers.ended;
  }

  [Symbol.dispose](): void {
    this.answers.cancel();
  }

  async #ask(action: WriteAction, request: WriteRequest): Promise<WriteContentResponse> {
    this.send(action, request);
    const number = this.#sent;
    const answered = this.answers.first((message) => this.answers.messages.indexOf(message) === number - 1, "answer");
    // An end without one has the status as its reason.
    return await Promise.race([answered, this.answers.ended.then(() => answered)]);
  }
}

export function sha256(data: string | Uint8Array): string {
  return `sha256:${createHash("sha256").update(data).digest("hex")}`;
}
