import type { Labels } from "../metadata/labels.js";
import { type Descriptor, type Index, isConfigType, isLayerType, isManifestType, type Manifest } from "./manifest.js";

const REFERENCE = "containerd.io/gc.ref.content";
const SNAPSHOT_REFERENCE = "containerd.io/gc.ref.snapshot.";
const SOURCE = "containerd.io/distribution.source.";

/** On a layer: the digest of what it is compressed of. */
export const UNCOMPRESSED = "containerd.io/uncompressed";

/** What a document's content needs to be kept for it, as containerd's clients write it. */
export function childLabels(document: Index | Manifest): Labels {
  const children = document.kind === "index" ? document.manifests : [document.config, ...document.layers];
  const labels: Labels = {};
  const counts = new Map<string, number>();
  for (const child of children) {
    const role = roleOf(child);
    const count = counts.get(role) ?? 0;
    counts.set(role, count + 1);
    // An image has one config: what has more of them numbers those from the second on.
    const key = role.endsWith(".") || count > 0 ? `${role}${count}` : role;
    labels[key] = child.digest;
  }
  return labels;
}

/** Of an image's config, once its layers are there as a snapshot. */
export function snapshotLabels(snapshotter: string, chainId: string): Labels {
  return { [`${SNAPSHOT_REFERENCE}${snapshotter}`]: chainId };
}

/** Adds a repository of a registry to where content has come from, or went to: there another repository can take it from. */
export function addSource(labels: Labels, host: string, path: string): Labels {
  const key = `${SOURCE}${host}`;
  const paths = new Set((labels[key] ?? "").split(",").filter((known) => known !== ""));
  if (paths.has(path)) return labels;
  const added = [...paths, path].sort().join(",");
  // More repositories than a label has room for: what is known is enough.
  return key.length + added.length > MAX_LABEL ? labels : { ...labels, [key]: added };
}

/** In bytes, key and value. */
const MAX_LABEL = 4096;

/** The repositories of a registry that content is known to be in. */
export function sourcesOf(labels: Labels, host: string): string[] {
  return (labels[`${SOURCE}${host}`] ?? "").split(",").filter((path) => path !== "");
}

function roleOf({ mediaType }: Descriptor): string {
  if (isConfigType(mediaType)) return `${REFERENCE}.config`;
  if (isManifestType(mediaType)) return `${REFERENCE}.m.`;
  return isLayerType(mediaType) ? `${REFERENCE}.l.` : `${REFERENCE}.`;
}
