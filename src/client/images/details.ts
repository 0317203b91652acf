import { createHash } from "node:crypto";
import type { V1CallOptions } from "../api/services.js";
import type { V1 } from "../api/v1.js";
import { ContainerdError } from "../errors/containerd-error.js";
import type { Descriptor, HistoryEntry, Image, ImageConfig, ImageDetails, ImageLayer } from "./image.js";
import { isFor, platformText } from "./platform.js";

/** In bytes: no document of an image is larger. */
const MAX_DOCUMENT = 8 << 20;

const INDEXES = new Set([
  "application/vnd.oci.image.index.v1+json",
  "application/vnd.docker.distribution.manifest.list.v2+json",
]);
/** What builders add to an index and nobody runs: attestations. */
const NOWHERE = "unknown/unknown";

/** A part of an index or a manifest, as JSON has it; nothing in it is trusted to be what it should. */
interface DescriptorJson {
  mediaType?: unknown;
  digest?: unknown;
  size?: unknown;
  platform?: { os?: unknown; architecture?: unknown; variant?: unknown };
}

/** A manifest of an image, and for what it is. */
interface Candidate {
  manifest: Descriptor;
  platform: string;
}

/** What an image is made for. */
export async function platformsOf(v1: V1, image: Image, options: V1CallOptions): Promise<string[]> {
  const candidates = await candidatesOf(v1, image, options);
  return candidates.map(({ platform }) => platform).filter((platform) => platform !== NOWHERE);
}

/** @throws ContainerdError: NOT_FOUND when nothing of it is for the platform, or that is not here */
export async function detailsOf(
  v1: V1,
  image: Image,
  platform: string,
  isAsked: boolean,
  options: V1CallOptions,
): Promise<ImageDetails> {
  const candidates = await candidatesOf(v1, image, options);
  const platforms = candidates.map((candidate) => candidate.platform).filter((found) => found !== NOWHERE);
  const found =
    candidates.find((candidate) => isFor(candidate.platform, platform)) ??
    (candidates.length === 1 && !isAsked ? candidates[0] : undefined);
  if (found === undefined)
    throw new ContainerdError(
      "NOT_FOUND",
      `image ${image.name} has nothing for ${platform}: it has ${platforms.join(", ") || "nothing that names a platform"}`,
    );
  const { config, layers } = await readJson(v1, found.manifest.digest, options);
  const configuration = descriptorOf(config);
  const { rootfs, history, config: wishes } = await readJson(v1, configuration.digest, options);
  const diffIds = listOf((rootfs as { diff_ids?: unknown } | undefined)?.diff_ids).map(String);
  const steps = listOf(history).map(historyOf);
  const makers = steps.filter(({ emptyLayer }) => !emptyLayer);
  const blobs = await presentOf(
    v1,
    listOf(layers).map((layer) => descriptorOf(layer)),
    options,
  );
  const described: ImageLayer[] = blobs.map((blob, index) => {
    const createdBy = makers[index]?.createdBy;
    return { ...blob, diffId: diffIds[index] ?? "", ...(createdBy !== undefined && { createdBy }) };
  });
  return {
    ...image,
    platform: found.platform,
    platforms,
    manifest: found.manifest,
    config: configOf(wishes),
    history: steps,
    layers: described,
    size: described.reduce((sum, { size }) => sum + size, configuration.size),
    chainId: chainIdOf(diffIds),
  };
}

/** The manifests of an image, each with its platform: that of a single one is in its config. */
async function candidatesOf(v1: V1, image: Image, options: V1CallOptions): Promise<Candidate[]> {
  const document = await readJson(v1, image.digest, options);
  if (INDEXES.has(image.mediaType) || Array.isArray(document.manifests))
    return listOf(document.manifests).map((entry) => ({
      manifest: descriptorOf(entry),
      platform: platformText(words((entry as DescriptorJson).platform)),
    }));
  const config = await readJson(v1, descriptorOf(document.config).digest, options);
  return [
    { manifest: { mediaType: image.mediaType, digest: image.digest, size: 0 }, platform: platformText(words(config)) },
  ];
}

function words({ os, architecture, variant }: NonNullable<DescriptorJson["platform"]> = {}) {
  return { os: textOf(os), architecture: textOf(architecture), variant: textOf(variant) };
}

/** A document of the content. @throws ContainerdError when it is not there, or none */
async function readJson(v1: V1, digest: string, options: V1CallOptions): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const { data } of await v1.content.read({ digest }, options)) {
    chunks.push(data);
    length += data.length;
    if (length > MAX_DOCUMENT)
      throw new ContainerdError("INTERNAL", `${digest} is larger than a document of an image is`);
  }
  try {
    const value: unknown = JSON.parse(Buffer.concat(chunks).toString());
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch {
    // It is told below.
  }
  throw new ContainerdError("INTERNAL", `${digest} is no document of an image: it is not a JSON object`);
}

/** Which of these blobs are there. */
async function presentOf(
  v1: V1,
  blobs: readonly Descriptor[],
  options: V1CallOptions,
): Promise<(Descriptor & { isPresent: boolean })[]> {
  return await Promise.all(
    blobs.map(async (blob) => {
      try {
        await v1.content.info({ digest: blob.digest }, options);
        return { ...blob, isPresent: true };
      } catch (error) {
        if (!(error instanceof ContainerdError && error.isNotFound)) throw error;
        return { ...blob, isPresent: false };
      }
    }),
  );
}

function descriptorOf(value: unknown): Descriptor {
  const { mediaType, digest, size } = (value ?? {}) as DescriptorJson;
  return { mediaType: textOf(mediaType), digest: textOf(digest), size: typeof size === "number" ? size : 0 };
}

function historyOf(value: unknown): HistoryEntry {
  const { created, created_by, comment, empty_layer } = (value ?? {}) as Record<string, unknown>;
  return {
    ...(typeof created === "string" && { created }),
    ...(typeof created_by === "string" && { createdBy: created_by }),
    ...(typeof comment === "string" && { comment }),
    emptyLayer: empty_layer === true,
  };
}

function configOf(value: unknown): ImageConfig {
  const wishes = (value ?? {}) as Record<string, unknown>;
  const texts = (name: string) => listOf(wishes[name]).map(String);
  const keys = (name: string) => Object.keys((wishes[name] ?? {}) as object);
  return {
    user: textOf(wishes.User),
    env: texts("Env"),
    entrypoint: texts("Entrypoint"),
    cmd: texts("Cmd"),
    workingDir: textOf(wishes.WorkingDir),
    labels: { ...(wishes.Labels as Record<string, string> | undefined) },
    exposedPorts: keys("ExposedPorts"),
    volumes: keys("Volumes"),
    stopSignal: textOf(wishes.StopSignal),
  };
}

/** The name of the snapshot of all layers, as OCI computes it. */
function chainIdOf(diffIds: readonly string[]): string {
  const [first = "", ...more] = diffIds;
  return more.reduce(
    (chain, diffId) => `sha256:${createHash("sha256").update(`${chain} ${diffId}`).digest("hex")}`,
    first,
  );
}

function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
