import { closeSync } from "node:fs";
import { detachedOverlay } from "../../system/mount/detached.js";
import type { Content } from "../content/content.js";
import { Failure, isFailure, refusal } from "../failure/failure.js";
import { bytesOf, readDocument } from "../images/documents.js";
import type { ImageRecord, Images } from "../images/image-records.js";
import { chainIds, type Descriptor, parseConfig } from "../images/manifest.js";
import { bestOf, HERE, noSuchPlatform } from "../images/platform.js";
import type { ImageTransfers } from "../images/transfers.js";
import type { HeldLayers, Snapshots } from "../snapshots/snapshots.js";
import { type ImageConfig, parseImageConfig } from "./spec/image-config.js";

/** How many images are kept in mind, with their layers mounted. */
const MAX_KNOWN = 32;
/** Deeper indexes in indexes than anybody makes. */
const MAX_DEPTH = 4;

/** An image that containers can be made of: its layers are snapshots. */
export interface ResolvedImage {
  /** As its record is called. */
  name: string;
  /** Of the manifest for this machine. */
  digest: string;
  /** What it says of its containers. */
  config: Readonly<ImageConfig>;
  /** The snapshot of its topmost layer; "" of one without layers. */
  chainId: string;
}

interface Known {
  image: ResolvedImage;
  layers: Promise<HeldLayers> | undefined;
}

export interface ImageParts {
  images: Images;
  content: Content;
  snapshots: Snapshots;
  transfers: ImageTransfers;
}

/** What images are, kept in mind for those that are used again and again: who looks twice at one reads one record. */
export class ResolvedImages {
  readonly #parts: ImageParts;
  /** By namespace and digest of what a name stands for, that which was used last at the end. */
  readonly #known = new Map<string, Known>();

  readonly #place: string;

  /** @param place a directory of the engine's own, which is there when an image is looked into */
  constructor(parts: ImageParts, place: string) {
    this.#parts = parts;
    this.#place = place;
  }

  /**
   * @param name in its full form
   * @throws Failure: not-found when there is no such image, or none for this machine; what unpacking it throws; the signal's reason
   */
  async resolve(namespace: string, name: string, signal: AbortSignal): Promise<ResolvedImage> {
    const record = await this.#parts.images.get(namespace, name);
    const key = `${namespace} ${record.target.digest}`;
    const known = this.#known.get(key);
    if (known !== undefined && (await this.#isUnpacked(namespace, known.image.chainId))) {
      this.#known.delete(key);
      this.#known.set(key, known);
      return { ...known.image, name };
    }
    this.#forget(key);
    const image = await this.#read(namespace, record, signal);
    // Whoever asked at the same time may have its layers mounted by now: they stay mounted as long as it is known.
    if (this.#known.has(key)) return image;
    this.#known.set(key, { image, layers: undefined });
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= MAX_KNOWN) break;
      this.#forget(oldest);
    }
    return image;
  }

  /** Where an image's layers are mounted, the topmost first. @throws Failure */
  async layers(namespace: string, chainId: string): Promise<string[]> {
    const known = [...this.#known].find(
      ([key, { image }]) => key.startsWith(`${namespace} `) && image.chainId === chainId,
    )?.[1];
    if (known === undefined) {
      const held = await this.#parts.snapshots.holdLayers(namespace, chainId);
      try {
        return await held.directories();
      } finally {
        void held.release();
      }
    }
    const before = known.layers;
    known.layers ??= this.#parts.snapshots.holdLayers(namespace, chainId);
    const { layers } = known;
    try {
      return await (await layers).directories();
    } catch (error) {
      if (known.layers === layers) known.layers = undefined;
      // What was held has gone with its image; another one of the same layers may have come since.
      if (before !== undefined) return await this.layers(namespace, chainId);
      throw error;
    }
  }

  /** Has `work` look into an image by a descriptor of its root. @throws Failure; what `work` does */
  async lookInto<T>(namespace: string, chainId: string, work: (root: number) => Promise<T>): Promise<T> {
    if (chainId === "") throw refusal("the image has no layers");
    const root = detachedOverlay(await this.layers(namespace, chainId), { place: this.#place });
    try {
      return await work(root);
    } finally {
      closeSync(root);
    }
  }

  /** Nothing is mounted any more but what containers use. */
  async close(): Promise<void> {
    for (const key of [...this.#known.keys()]) await this.#forget(key);
  }

  async #forget(key: string): Promise<void> {
    const known = this.#known.get(key);
    this.#known.delete(key);
    try {
      await (await known?.layers)?.release();
    } catch {
      // It has gone before.
    }
  }

  async #isUnpacked(namespace: string, chainId: string): Promise<boolean> {
    if (chainId === "") return true;
    try {
      return (await this.#parts.snapshots.stat(namespace, chainId)).kind === "committed";
    } catch (error) {
      if (error instanceof Failure && error.kind === "not-found") return false;
      throw error;
    }
  }

  async #read(namespace: string, { name, target }: ImageRecord, signal: AbortSignal): Promise<ResolvedImage> {
    const { content, transfers } = this.#parts;
    try {
      const manifest = await this.#manifest(namespace, name, target);
      const config = await bytesOf(content, namespace, manifest.config.digest);
      const chainId = chainIds(parseConfig(manifest.config.digest, config).diffIds).at(-1) ?? "";
      if (!(await this.#isUnpacked(namespace, chainId))) await transfers.unpack({ namespace, name, target, signal });
      return { name, digest: manifest.digest, config: parseImageConfig(manifest.digest, config), chainId };
    } catch (error) {
      if (!isFailure(error, "no-content")) throw error;
      const why = `image ${name} is not whole: ${error.facts.digest} is not there; pull it again`;
      throw new Failure("not-found", "refused", { why, about: "image" }, { cause: error });
    }
  }

  async #manifest(
    namespace: string,
    name: string,
    target: Descriptor,
  ): Promise<{ digest: string; config: Descriptor }> {
    let descriptor = target;
    for (let depth = 0; depth <= MAX_DEPTH; depth++) {
      const document = await readDocument(this.#parts.content, namespace, descriptor);
      if (document.kind === "manifest") return { digest: descriptor.digest, config: document.config };
      const { manifests } = document;
      const platforms = manifests.flatMap(({ platform }) => platform ?? []);
      const found = bestOf([HERE], manifests) ?? manifests.find(({ platform }) => platform === undefined);
      if (found === undefined) throw noSuchPlatform(name, [HERE], platforms);
      descriptor = found;
    }
    throw new Failure("invalid-argument", "refused", { why: `image ${name} has indexes in indexes without end` });
  }
}
