import { createHash } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import type { Mount } from "../../system/mount/mount.js";
import type { Ingest } from "../content/ingest.js";
import { type NewBlob, writeBlob } from "../content/write-blob.js";
import { Failure } from "../failure/failure.js";
import { writeDiff } from "../layers/diff.js";
import type { Labels } from "../metadata/labels.js";
import type { Descriptor } from "./image-records.js";
import { DOCKER_LAYER, OCI_LAYER } from "./manifest.js";
import type { TransferParts } from "./transfers.js";

export interface DiffRequest {
  namespace: string;
  /** Of that which the other snapshot is put on. */
  left: readonly Mount[];
  right: readonly Mount[];
  /** "": a layer compressed by gzip. */
  mediaType: string;
  /** By which the content is known while it is written; "": one that nobody has. */
  ref: string;
  /** Of the content. */
  labels: Labels;
  lease: string | undefined;
  /** Nanoseconds since the epoch: what has changed later is told as of then. */
  latest?: bigint | undefined;
  signal: AbortSignal;
}

const GZIPPED = `${OCI_LAYER}+gzip`;
/** Whether what media type is compressed. */
const TYPES = new Map([
  [OCI_LAYER, false],
  [GZIPPED, true],
  [DOCKER_LAYER, false],
  [`${DOCKER_LAYER}.gzip`, true],
]);
/** On compressed content: the digest of what it is without. */
const UNCOMPRESSED = "containerd.io/uncompressed";

/** In bytes: an archive that has nothing in it. */
const EMPTY_ARCHIVE = 1024;

/**
 * Makes a layer's blob of what one snapshot has over another.
 * @throws Failure; the signal's reason
 */
export async function diffSnapshots(
  { snapshots, content }: Pick<TransferParts, "snapshots" | "content">,
  request: DiffRequest,
): Promise<Descriptor> {
  const { namespace, left, right, lease, latest, signal } = request;
  const mediaType = request.mediaType === "" ? GZIPPED : request.mediaType;
  const isCompressed = TYPES.get(mediaType);
  if (isCompressed === undefined)
    throw new Failure("unimplemented", "refused", { why: `unsupported diff media type: ${mediaType}` });
  const blob = { namespace, ref: request.ref, kind: "diff", lease };
  return await snapshots.withDifference(namespace, left, right, async (upper) => {
    const archive = upper === undefined ? [Buffer.alloc(EMPTY_ARCHIVE)] : writeDiff({ upper, latest, signal });
    const layer = { mediaType, isCompressed, archive, labels: request.labels };
    const { descriptor } = await writeLayer(content, blob, layer, signal);
    return descriptor;
  });
}

interface NewLayer {
  mediaType: string;
  isCompressed: boolean;
  /** Uncompressed. */
  archive: Iterable<Buffer> | AsyncIterable<Buffer>;
  /** Of the content. */
  labels: Labels;
}

/** Makes content of a layer's archive. @throws Failure; the signal's reason; what `archive` throws */
export async function writeLayer(
  content: TransferParts["content"],
  blob: NewBlob,
  { mediaType, isCompressed, archive, labels }: NewLayer,
  signal: AbortSignal,
): Promise<{ descriptor: Descriptor; diffId: string }> {
  let diffId = "";
  const { digest, size } = await writeBlob(content, blob, async (ingest) => {
    diffId = await write(archive, isCompressed, ingest, signal);
    return isCompressed ? { ...labels, [UNCOMPRESSED]: diffId } : labels;
  });
  return { descriptor: { mediaType, digest, size, annotations: {} }, diffId };
}

/** @returns the digest of the archive itself */
async function write(
  archive: Iterable<Buffer> | AsyncIterable<Buffer>,
  isCompressed: boolean,
  ingest: Ingest,
  signal: AbortSignal,
): Promise<string> {
  const hash = createHash("sha256");
  const hashed = async function* (chunks: AsyncIterable<Buffer>) {
    for await (const chunk of chunks) {
      hash.update(chunk);
      yield chunk;
    }
  };
  const store = async (chunks: AsyncIterable<Buffer>) => {
    for await (const chunk of chunks) await ingest.write(chunk);
  };
  const from = Readable.from(archive, { objectMode: false });
  try {
    if (isCompressed) await pipeline(from, hashed, createGzip(), store, { signal });
    else await pipeline(from, hashed, store, { signal });
  } catch (error) {
    // A pipeline has an error of its own for that.
    signal.throwIfAborted();
    throw error;
  }
  return `sha256:${hash.digest("hex")}`;
}
