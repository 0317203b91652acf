import type { Image as ImageMessage } from "../../proto/containerd/services/images/v1/images.js";
import { type Timestamp, toDate } from "../timestamp.js";

/** An image that is there, by one of its names. */
export interface Image {
  /** In full: `docker.io/library/alpine:latest`. */
  readonly name: string;
  /** Of its index or manifest: `sha256:…`. */
  readonly digest: string;
  readonly mediaType: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** A blob by its digest. */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  /** In bytes. */
  readonly size: number;
}

/** A layer of an image, from the bottom. */
export interface ImageLayer extends Descriptor {
  /** The digest of what the blob is compressed of. */
  readonly diffId: string;
  /** What has made it, as far as the image says. */
  readonly createdBy?: string;
  /** Whether its blob is there; it may have been dropped once it was unpacked. */
  readonly isPresent: boolean;
}

/** A step of how an image was made. */
export interface HistoryEntry {
  readonly created?: string;
  readonly createdBy?: string;
  readonly comment?: string;
  /** It has no layer. */
  readonly emptyLayer: boolean;
}

/** What an image asks for of a container. */
export interface ImageConfig {
  readonly user: string;
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly workingDir: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly exposedPorts: readonly string[];
  readonly volumes: readonly string[];
  readonly stopSignal: string;
}

/** What an image is made of, for one platform. */
export interface ImageDetails extends Image {
  /** For which it is told: `linux/amd64`. */
  readonly platform: string;
  /** All that there are, those whose layers are not here, too. */
  readonly platforms: readonly string[];
  /** Of the index or manifest that the name leads to, and of the platform's manifest. */
  readonly manifest: Descriptor;
  readonly config: ImageConfig;
  readonly history: readonly HistoryEntry[];
  readonly layers: readonly ImageLayer[];
  /** In bytes: config and layers as they are at a registry. */
  readonly size: number;
  /** Names the snapshot that containers begin with; "" for an image without layers. */
  readonly chainId: string;
}

export function imageOf({ name, labels, target, createdAt, updatedAt }: ImageMessage): Image {
  const { digest = "", mediaType = "" } = target ?? {};
  return { name, digest, mediaType, labels, createdAt: dateOf(createdAt), updatedAt: dateOf(updatedAt) };
}

function dateOf(timestamp: Timestamp | undefined): Date {
  return toDate(timestamp ?? { seconds: 0n, nanos: 0 });
}
