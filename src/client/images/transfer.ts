import type { Progress } from "../../proto/containerd/types/transfer/progress.js";
import type { Any } from "../../proto/google/protobuf/any.js";
import type { CallOptions } from "../api/call-options.js";
import type { V1 } from "../api/v1.js";
import { SideStream } from "./side-stream.js";

/** What happens while an image comes or goes. */
export interface ImageProgress {
  /** In words: "downloading", "extracting", "complete", "already exists", "saved"; or a whole line: "Pulling from …". */
  readonly event: string;
  /** The image, or one of its blobs: `layer-sha256:…`, `config-sha256:…`; "" when it is about all of them. */
  readonly name: string;
  /** What that belongs to. */
  readonly parents: readonly string[];
  /** In bytes. */
  readonly progress: number;
  /** In bytes; 0 when it is not known. */
  readonly total: number;
  /** Of the blob; "" when it is about none. */
  readonly digest: string;
}

export interface TransferOptions extends CallOptions {
  /** Told all that happens, in order. What it throws ends the transfer. */
  onProgress?: ((progress: ImageProgress) => void) | undefined;
}

/** What a transfer works with while it is under way. */
export interface TransferStreams {
  /** The options of each call that belongs to it. */
  call: CallOptions;
  open(): Promise<SideStream>;
  /** Ends the transfer. */
  fail(error: unknown): void;
}

/**
 * Has the daemon transfer an image.
 * @param ends makes the two ends of it, and begins what goes on beside it
 * @param beside is waited for when the transfer has gone well
 * @returns the names that images have got by it
 */
export async function transferImage(
  v1: V1,
  { signal, timeout, onProgress }: TransferOptions,
  ends: (streams: TransferStreams) => Promise<{ source: Any; destination: Any; beside?: Promise<unknown> }>,
): Promise<string[]> {
  const ended = new AbortController();
  const abort = () => ended.abort(signal!.reason);
  signal?.throwIfAborted();
  signal?.addEventListener("abort", abort, { once: true });
  const call: CallOptions = { signal: ended.signal, timeout };
  const opened: SideStream[] = [];
  const open = async () => {
    const stream = await SideStream.open(v1, call);
    opened.push(stream);
    return stream;
  };
  const saved: string[] = [];
  const follow = async (stream: SideStream) => {
    for await (const message of stream.progress()) {
      if (message.event === "saved") saved.push(message.name);
      try {
        onProgress?.(progressOf(message));
      } catch (error) {
        ended.abort(error);
        throw error;
      }
    }
  };
  try {
    const progress = await open();
    const followed = follow(progress);
    // When it fails, so does the transfer, or the program's own function was what has failed.
    followed.catch(() => {});
    const { source, destination, beside } = await ends({ call, open, fail: (error) => ended.abort(error) });
    beside?.catch((error: unknown) => ended.abort(error));
    await v1.transfer.transfer({ source, destination, options: { progressStream: progress.id } }, call);
    await Promise.all([followed, beside]);
    return [...new Set(saved)];
  } finally {
    signal?.removeEventListener("abort", abort);
    for (const stream of opened) stream[Symbol.dispose]();
  }
}

function progressOf({ event, name, parents, progress, total, desc }: Progress): ImageProgress {
  return { event, name, parents, progress: Number(progress), total: Number(total), digest: desc?.digest ?? "" };
}
