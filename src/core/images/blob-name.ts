import { type Descriptor, isConfigType, isIndexType, isLayerType, isManifestType } from "./manifest.js";

/** How containerd's clients call a blob while it comes or goes; an ingest of the content has this reference. */
export function blobName({ mediaType, digest }: Descriptor): string {
  return `${roleOf(mediaType)}-${digest}`;
}

function roleOf(mediaType: string): string {
  if (isManifestType(mediaType)) return "manifest";
  if (isIndexType(mediaType)) return "index";
  if (isLayerType(mediaType)) return "layer";
  return isConfigType(mediaType) ? "config" : "unknown";
}
