import { Info } from "../../src/proto/containerd/services/content/v1/content.js";
import type { Image } from "../../src/proto/containerd/services/images/v1/images.js";
import { sha256, type WriteRequest } from "./content-writer.js";
import type { ApiV1 } from "./v1.js";

/** Writes a blob. @returns its digest */
export async function putBlob(
  api: ApiV1,
  data: Buffer | string,
  { lease, ...request }: WriteRequest & { lease?: string } = {},
): Promise<string> {
  const bytes = Buffer.from(data);
  const digest = sha256(bytes);
  using writer = api.writeContent(lease === undefined ? {} : { lease });
  await writer.commit({ ref: `put-${digest}`, expected: digest, total: BigInt(bytes.length), data: bytes, ...request });
  return digest;
}

export async function listBlobs(api: ApiV1, ...filters: string[]): Promise<Info[]> {
  using stream = api.listContent(...filters);
  await stream.ended;
  return stream.messages.flatMap(({ info }) => info);
}

/** The digests of a namespace's content. */
export async function digestsOf(api: ApiV1): Promise<string[]> {
  return (await listBlobs(api)).map(({ digest }) => digest).sort();
}

/** Adds labels to content. */
export async function labelBlob(api: ApiV1, digest: string, labels: Record<string, string>): Promise<void> {
  const updateMask = Object.keys(labels).map((key) => `labels.${key}`);
  await api.content.update({ info: { ...Info.fromPartial({ digest }), labels }, updateMask });
}

/** A record of an image, as Images.Create takes it. */
export function imageOf(name: string, digest: string, labels: Record<string, string> = {}): Image {
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const target = { mediaType, digest, size: 7n, annotations: {} };
  return { name, labels, target, createdAt: undefined, updatedAt: undefined };
}
