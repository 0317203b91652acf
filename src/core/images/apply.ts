import type { Mount } from "../../system/mount/mount.js";
import { refusal } from "../failure/failure.js";
import type { Descriptor } from "./image-records.js";
import { isLayerType, OCI_LAYER } from "./manifest.js";
import type { TransferParts } from "./transfers.js";
import type { Unpacker } from "./unpack.js";

export interface ApplyRequest {
  namespace: string;
  /** Of the layer's blob, which is there. */
  descriptor: Descriptor;
  /** Of an active snapshot that nothing was written to. */
  mounts: readonly Mount[];
  signal: AbortSignal;
}

/**
 * Puts a layer into a snapshot: its blob becomes a layer file, which the snapshot has from then on.
 * @returns what was put into it: the layer's archive, uncompressed
 * @throws Failure; the signal's reason
 */
export async function applyLayer(
  { snapshots, content, unpacker }: Pick<TransferParts, "snapshots" | "content"> & { unpacker: Unpacker },
  { namespace, descriptor, mounts, signal }: ApplyRequest,
): Promise<Descriptor> {
  if (!isLayerType(descriptor.mediaType))
    throw refusal(`media type ${JSON.stringify(descriptor.mediaType)} is no layer's`);
  const { name, parent } = await snapshots.ofMounts(namespace, mounts);
  const below = parent === "" ? [] : await snapshots.diffIds(namespace, parent);
  const blob = await content.open(namespace, descriptor.digest);
  try {
    const wanted = { descriptor, blob: async () => ({ path: blob.path }), whole: async () => {} };
    const layer = await unpacker.convert(wanted, { namespace, parent, below }, signal);
    await snapshots.setLayer(namespace, name, layer);
    return { mediaType: OCI_LAYER, digest: layer.diffId, size: layer.unpacked, annotations: {} };
  } finally {
    await blob.close();
  }
}
