import type { Content } from "../content/content.js";
import { Failure } from "../failure/failure.js";
import { unlessMissing } from "../failure/unless-missing.js";
import type { Descriptor } from "./manifest.js";

/** The daemon's flag by which blobs of layers go once these are unpacked. */
export const DISCARD_BLOBS = "--discard-blobs";

/** Removes the blobs of layers that are kept as layer files. */
export async function discardLayers(content: Content, namespace: string, layers: readonly Descriptor[]): Promise<void> {
  for (const { digest } of layers) await unlessMissing(content.delete(namespace, digest));
}

/** What needs the blob of a layer that is not there can't be done. */
export function layerIsGone(image: string, { digest }: Descriptor): Failure {
  return new Failure("failed-precondition", "refused", {
    why:
      `image ${image}: layer ${digest} is only there unpacked: its blob was removed, as the daemon does with ${DISCARD_BLOBS}; ` +
      "pull the image by a daemon without it",
  });
}
