import { abortable } from "../../../core/failure/abortable.js";
import { refusal } from "../../../core/failure/failure.js";
import { Data, WindowUpdate } from "../../../proto/containerd/types/transfer/streaming.js";
import type { Any } from "../../../proto/google/protobuf/any.js";
import { type ClientStream, isOf } from "../streaming.js";

const DATA = "containerd.types.transfer.Data";
const WINDOW_UPDATE = "containerd.types.transfer.WindowUpdate";

/** In bytes: how much a client may send before it is told to go on. */
const WINDOW = 1 << 20;
/** In bytes: of one message. */
const LARGEST = 64 * 1024;

/** The bytes that a client sends over a stream, as they are taken; ends the stream. @throws a signal's reason */
export async function* receiveData(stream: ClientStream, signal: AbortSignal): AsyncGenerator<Buffer> {
  let window = 0;
  try {
    for (;;) {
      // In halves: the client need not wait for each answer.
      if (window <= WINDOW / 2) {
        const update = WINDOW - window;
        window += update;
        void stream.send({ typeUrl: WINDOW_UPDATE, value: encoded(WindowUpdate.encode({ update })) });
      }
      const message = await abortable(stream.receive(), signal);
      if (message === undefined) return;
      if (!isOf(message, DATA)) continue;
      const { data } = Data.decode(message.value);
      window -= data.length;
      // containerd's clients keep to it but for one message.
      if (window < -WINDOW) throw refusal(`a stream's client sends more than it was asked for: ${-window} bytes`);
      if (data.length > 0) yield data;
    }
  } finally {
    stream.end();
  }
}

/** Sends bytes over a stream, as many as the client asks for; ends the stream. @throws a signal's reason; what `data` does */
export async function sendData(stream: ClientStream, data: AsyncIterable<Buffer>, signal: AbortSignal): Promise<void> {
  const window = new Window(stream);
  try {
    for await (const chunk of data) {
      for (let at = 0; at < chunk.length; ) {
        const size = await abortable(window.take(Math.min(LARGEST, chunk.length - at)), signal);
        const message: Any = { typeUrl: DATA, value: encoded(Data.encode({ data: chunk.subarray(at, at + size) })) };
        await abortable(stream.send(message), signal);
        stream.signal.throwIfAborted();
        at += size;
      }
    }
  } finally {
    stream.end();
  }
}

/** How much a client wants. */
class Window {
  readonly #stream: ClientStream;
  #size = 0;
  #failure: unknown;
  #wake = () => {};

  constructor(stream: ClientStream) {
    this.#stream = stream;
    void this.#follow();
  }

  /** @returns how many bytes may be sent now, up to `wanted` */
  async take(wanted: number): Promise<number> {
    while (this.#size <= 0) {
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((wake) => {
        this.#wake = wake;
      });
    }
    const size = Math.min(wanted, this.#size);
    this.#size -= size;
    return size;
  }

  async #follow(): Promise<void> {
    try {
      for (;;) {
        const message = await this.#stream.receive();
        if (message === undefined) throw refusal("a stream's client has ended it before it had all");
        if (isOf(message, WINDOW_UPDATE)) this.#size += Math.max(0, WindowUpdate.decode(message.value).update);
        this.#wake();
      }
    } catch (error) {
      this.#failure = error;
      this.#wake();
    }
  }
}

function encoded(writer: { finish(): Uint8Array }): Buffer {
  return Buffer.from(writer.finish());
}
