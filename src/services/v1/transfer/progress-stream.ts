import type { ProgressEvent, ProgressListener } from "../../../core/images/progress.js";
import { Progress } from "../../../proto/containerd/types/transfer/progress.js";
import type { ClientStream } from "../streaming.js";

/** Tells a client over a stream what happens. */
export class ProgressStream implements ProgressListener {
  readonly #stream: ClientStream;

  constructor(stream: ClientStream) {
    this.#stream = stream;
  }

  get isReady(): boolean {
    return this.#stream.isIdle;
  }

  tell({ event, name = "", parents = [], progress = 0, total = 0, descriptor }: ProgressEvent): void {
    const desc = descriptor && {
      mediaType: descriptor.mediaType,
      digest: descriptor.digest,
      size: BigInt(descriptor.size),
      annotations: { ...descriptor.annotations },
    };
    const message = { event, name, parents: [...parents], progress: BigInt(progress), total: BigInt(total), desc };
    const value = Buffer.from(Progress.encode(message).finish());
    void this.#stream.send({ typeUrl: "containerd.types.transfer.Progress", value });
  }

  /** Nothing more comes. */
  end(): void {
    this.#stream.end();
  }
}
