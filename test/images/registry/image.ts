/** An image that is as small as one can be, and what is needed to put it into a registry. */
import { randomBytes } from "node:crypto";
import { type Descriptor, digestOf, type TestRegistry } from "../../harness/registry.js";

export interface SmallImage {
  manifest: Descriptor;
  manifestBytes: Buffer;
  config: Descriptor;
  layer: Descriptor;
  /** By digest. */
  blobs: Map<string, Buffer>;
}

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";

/** @param size of its layer, in bytes; nobody unpacks it here */
export function makeImage(size = 100_000): SmallImage {
  const layerBytes = randomBytes(size);
  const configBytes = Buffer.from(JSON.stringify({ os: "linux", architecture: "amd64" }));
  const config = describe("application/vnd.oci.image.config.v1+json", configBytes);
  const layer = describe("application/vnd.oci.image.layer.v1.tar", layerBytes);
  const manifestBytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST, config, layers: [layer] }));
  const manifest = describe(MANIFEST, manifestBytes);
  const blobs = new Map([
    [config.digest, configBytes],
    [layer.digest, layerBytes],
  ]);
  return { manifest, manifestBytes, config, layer, blobs };
}

export function describe(mediaType: string, bytes: Buffer): Descriptor {
  return { mediaType, digest: digestOf(bytes), size: bytes.length };
}

/** @param name path and tag */
export async function pushImage(registry: TestRegistry, image: SmallImage, name: string): Promise<void> {
  const [path = "", tag = "latest"] = name.split(":");
  for (const bytes of image.blobs.values()) await registry.pushBlob(path, bytes);
  await registry.pushManifest(path, tag, image.manifest.mediaType, image.manifestBytes);
}
