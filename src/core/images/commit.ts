import type { IdMaps } from "../files/file-owners.js";
import { writeDiff } from "../layers/diff.js";
import { SNAPSHOTTER } from "../snapshots/snapshots.js";
import type { RunConfig } from "./config-changes.js";
import { childLabels, snapshotLabels } from "./content-labels.js";
import { writeLayer } from "./diff.js";
import { bytesOf, pathOf, storeBytes } from "./documents.js";
import type { ImageRecord } from "./image-records.js";
import { nameImages } from "./image-store.js";
import {
  chainIds,
  type Descriptor,
  DOCKER_CONFIG,
  DOCKER_LAYER,
  DOCKER_MANIFEST,
  descriptorJson,
  digestOf,
  type Manifest,
  OCI_CONFIG,
  OCI_LAYER,
  OCI_MANIFEST,
  parseConfig,
  parseDocument,
} from "./manifest.js";
import { HERE } from "./platform.js";
import { Progress } from "./progress.js";
import type { TransferParts } from "./transfers.js";
import type { Unpacker } from "./unpack.js";

const EXPIRE = "containerd.io/gc.expire";
/** In ms: more than a commit takes. */
const LIFE = 24 * 60 * 60 * 1000;

export interface CommitRequest {
  namespace: string;
  /** Digest of the manifest that the new layer is put on; "": it is the only one. */
  base: string;
  /** An upper directory of overlayfs. */
  upper: string;
  idMaps: IdMaps | undefined;
  /** The image's name; "": its digest is its name. */
  name: string;
  /** Makes the new config of what the base says of its containers. */
  change(before: RunConfig): RunConfig;
  author: string;
  comment: string;
  /** What has made the layer. */
  createdBy: string;
  /** Called once all of the upper directory was read. */
  onRead(): Promise<void>;
  signal: AbortSignal;
}

interface Base {
  mediaType: string;
  manifest: Pick<Manifest, "layers">;
  config: Record<string, unknown>;
  diffIds: string[];
}

/**
 * Makes an image of another one and an upper directory, with its snapshots. Until all of it is on the disk nothing has its name.
 * @throws Failure; the signal's reason
 */
export async function commitImage(
  parts: Pick<TransferParts, "content" | "images" | "leases"> & { unpacker: Unpacker },
  request: CommitRequest,
): Promise<ImageRecord> {
  const { namespace, name } = request;
  // What is made before a kill goes when its time is over.
  const expires = new Date(Date.now() + LIFE).toISOString();
  const { id: lease } = await parts.leases.create(namespace, "", { [EXPIRE]: expires });
  try {
    const target = await makeImage(parts, request, lease);
    using progress = new Progress(undefined);
    const wanted = [{ name: name === "" ? target.digest : name, target }];
    const [record] = await nameImages(parts.images, namespace, wanted, {}, progress);
    return record!;
  } finally {
    await parts.leases.delete(namespace, lease);
  }
}

async function makeImage(
  { content, unpacker }: Pick<TransferParts, "content"> & { unpacker: Unpacker },
  request: CommitRequest,
  lease: string,
): Promise<Descriptor> {
  const { namespace, upper, idMaps, onRead, signal } = request;
  const base = await baseOf(content, request);
  const isDocker = base.mediaType === DOCKER_MANIFEST;
  const archive = writeDiff({ upper, idMaps, signal });
  const blob = { namespace, ref: "", kind: "commit", lease };
  const mediaType = isDocker ? `${DOCKER_LAYER}.gzip` : `${OCI_LAYER}+gzip`;
  const made = await writeLayer(content, blob, { mediaType, isCompressed: true, archive, labels: {} }, signal);
  await onRead();
  const diffIds = [...base.diffIds, made.diffId];
  const layers = [...base.manifest.layers, made.descriptor];
  const wanted = layers.map((descriptor, i) => ({
    descriptor,
    diffId: diffIds[i]!,
    blob: async () => ({ path: await pathOf(content, namespace, descriptor.digest) }),
    whole: async () => {},
  }));
  await unpacker.unpack(namespace, wanted, lease, signal);
  const store = async (type: string, document: object, labels: Record<string, string>) => {
    const bytes = Buffer.from(JSON.stringify(document));
    const descriptor = { mediaType: type, digest: digestOf(bytes), size: bytes.length };
    const relabel = (before: Record<string, string>) => ({ ...before, ...labels });
    await storeBytes(content, namespace, descriptor, bytes, { lease, relabel, signal });
    return descriptor;
  };
  const config = await store(
    isDocker ? DOCKER_CONFIG : OCI_CONFIG,
    configOf(base, diffIds, request),
    snapshotLabels(SNAPSHOTTER, chainIds(diffIds).at(-1)!),
  );
  const document = {
    schemaVersion: 2,
    mediaType: base.mediaType,
    config: descriptorJson(config),
    layers: layers.map(descriptorJson),
  };
  return await store(base.mediaType, document, childLabels({ kind: "manifest", config, layers }));
}

async function baseOf(content: TransferParts["content"], { namespace, base }: CommitRequest): Promise<Base> {
  if (base === "") {
    const { os, architecture, variant } = HERE;
    const config = { os, architecture, ...(variant === "" ? {} : { variant }) };
    return { mediaType: OCI_MANIFEST, manifest: { layers: [] }, config, diffIds: [] };
  }
  const bytes = await bytesOf(content, namespace, base);
  const said = (JSON.parse(bytes.toString()) as { mediaType?: unknown }).mediaType;
  const mediaType = said === DOCKER_MANIFEST ? DOCKER_MANIFEST : OCI_MANIFEST;
  const manifest = parseDocument({ mediaType, digest: base, size: bytes.length }, bytes) as Manifest;
  const { digest } = manifest.config;
  const config = await bytesOf(content, namespace, digest);
  return { mediaType, manifest, config: JSON.parse(config.toString()), diffIds: parseConfig(digest, config).diffIds };
}

/** What the base's config says of other things than the image stays. */
function configOf(base: Base, diffIds: string[], { change, author, comment, createdBy }: CommitRequest): object {
  const created = new Date().toISOString();
  const { container: _, container_config: __, config, history, ...more } = base.config;
  const before = Array.isArray(history) ? history : [];
  return {
    ...more,
    created,
    author,
    config: change(typeof config === "object" && config !== null ? (config as RunConfig) : {}),
    rootfs: { type: "layers", diff_ids: diffIds },
    history: [...before, { created, created_by: createdBy, author, comment }],
  };
}
