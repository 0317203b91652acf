/** Snapshots made of layers as clients of containerd make them: content, Prepare, Apply, Commit. */
import { readFileSync } from "node:fs";
import type { Descriptor } from "../../src/proto/containerd/types/descriptor.js";
import type { ImageLayout, LayerEntries, TestLayer } from "./test-images.js";
import type { ApiV1 } from "./v1.js";

const snapshotter = "overlayfs";
/** Debian's containerd collects at once what nothing needs. */
export const KEPT = { "containerd.io/gc.root": "for the test" };

/** Brings a layer's blob into the content. */
export async function putLayer(api: ApiV1, layout: ImageLayout, { descriptor }: TestLayer): Promise<Descriptor> {
  const { mediaType, digest } = descriptor;
  const data = readFileSync(layout.path(descriptor));
  const size = BigInt(data.length);
  using writer = api.writeContent();
  // In pieces that a message has room for.
  const request = { ref: `layer-${digest}`, expected: digest, total: size };
  const last = Math.max(data.length - PIECE, 0);
  for (let offset = 0; offset < last; offset += PIECE)
    await writer.write({
      ...request,
      offset: BigInt(offset),
      data: data.subarray(offset, Math.min(offset + PIECE, last)),
    });
  try {
    await writer.commit({ ...request, offset: BigInt(last), data: data.subarray(last), labels: KEPT });
  } catch (error) {
    if (!String(error).includes("already exists")) throw error;
  }
  return { mediaType, digest, size, annotations: {} };
}

const PIECE = 1 << 20;

export interface Unpacked {
  diffId: string;
  layer: TestLayer;
}

/** A committed snapshot of a layer with these entries on another one. */
export async function unpackLayer(
  api: ApiV1,
  layout: ImageLayout,
  { name, parent = "" }: { name: string; parent?: string },
  entries: LayerEntries,
): Promise<Unpacked> {
  const layer = await layout.layer(entries);
  const diff = await putLayer(api, layout, layer);
  const key = `extract-1-test ${name}`;
  const { mounts } = await api.snapshots.prepare({ snapshotter, key, parent, labels: KEPT });
  const { applied } = await api.diff.apply({ diff, mounts });
  await api.snapshots.commit({ snapshotter, name, key, labels: KEPT });
  return { diffId: applied!.digest, layer };
}
