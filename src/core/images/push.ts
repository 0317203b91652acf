import type { Content } from "../content/content.js";
import { Failure } from "../failure/failure.js";
import { unlessMissing } from "../failure/unless-missing.js";
import { parseReference } from "../registry/reference.js";
import type { Access, Registry, Repository } from "../registry/registry.js";
import { Workers } from "../scheduling/workers.js";
import { addSource, sourcesOf } from "./content-labels.js";
import { layerIsGone } from "./discard.js";
import { bytesOf, relabel } from "./documents.js";
import type { Images } from "./image-records.js";
import { type Descriptor, isForeignLayer, isLayerType, parseDocument } from "./manifest.js";
import { bestOf, noSuchPlatform, type Platform, platformText } from "./platform.js";
import { Progress, type ProgressListener } from "./progress.js";
import { together } from "./together.js";

export interface PushParts {
  content: Content;
  images: Images;
  registry: Registry;
  /** How many blobs go at a time. */
  workers: number;
}

export interface PushRequest {
  namespace: string;
  /** Of the image, as it is stored. */
  name: string;
  /** Where it goes, as its user has typed it. */
  reference: string;
  /** None: all that the image names. One: that one's manifest alone. */
  platforms: readonly Platform[];
  access: Access;
  signal: AbortSignal;
  listener?: ProgressListener | undefined;
}

/**
 * Brings an image to a registry; what that has already does not go again.
 * @throws Failure: not-found; failed-precondition for an image whose layers are only there unpacked; what the registry says. The signal's
 *   reason
 */
export async function pushImage(parts: PushParts, request: PushRequest): Promise<void> {
  const { namespace, name, platforms, signal } = request;
  const reference = parseReference(request.reference);
  using progress = new Progress(request.listener);
  const { target } = await parts.images.get(namespace, name);
  progress.tell({ event: `Pushing to ${reference.name}` });
  const repository = await parts.registry.repository(reference, request.access, signal);
  progress.tell({ event: "pushing content", name: reference.name, descriptor: target });
  const push = new Push(parts, repository, { ...request, reference: reference.name }, progress);
  const root = platforms.length === 0 ? target : await push.choose(target, platforms);
  await push.document(root, signal, reference.tag);
  progress.tell({ event: `Completed push to ${reference.name}` });
}

class Push {
  readonly #parts: PushParts;
  readonly #repository: Repository;
  readonly #request: PushRequest;
  readonly #progress: Progress;
  readonly #workers: Workers;
  /** By digest: what is named twice goes once. */
  readonly #gone = new Map<string, Promise<void>>();

  constructor(parts: PushParts, repository: Repository, request: PushRequest, progress: Progress) {
    this.#parts = parts;
    this.#repository = repository;
    this.#request = request;
    this.#progress = progress;
    this.#workers = new Workers(parts.workers);
  }

  /** The manifest for a platform, when the image has others as well. @throws Failure (not-found) that lists what there is */
  async choose(target: Descriptor, platforms: readonly Platform[]): Promise<Descriptor> {
    const document = parseDocument(target, await this.#bytes(target));
    if (document.kind === "manifest") return target;
    if (platforms.length > 1) return target;
    const found = bestOf(platforms, document.manifests);
    const made = document.manifests.flatMap(({ platform }) => platform ?? []);
    if (found === undefined) throw noSuchPlatform(this.#request.name, platforms, made);
    await this.#checkAllPulled([found]);
    return found;
  }

  /** An index or a manifest, after all that it names. */
  async document(descriptor: Descriptor, signal: AbortSignal, tag?: string): Promise<void> {
    const bytes = await this.#bytes(descriptor);
    const document = parseDocument(descriptor, bytes);
    if (document.kind === "index") await this.#checkAllPulled(document.manifests);
    await together(signal, (ended, add) => {
      if (document.kind === "index") for (const child of document.manifests) add(this.document(child, ended));
      else for (const blob of [document.config, ...document.layers]) add(this.#blob(blob, ended));
    });
    const row = this.#progress.blob(descriptor, this.#request.reference);
    await this.#repository.putManifest(descriptor, bytes, { signal, ...(tag === undefined ? {} : { tag }) });
    await this.#remember(descriptor);
    row.done("complete");
  }

  /** @throws Failure (not-found) that lists what of an index is missing, before anything of it goes */
  async #checkAllPulled(manifests: readonly Descriptor[]): Promise<void> {
    const isMissing = await Promise.all(manifests.map((manifest) => this.#isMissing(manifest)));
    const missing = manifests.filter((_, index) => isMissing[index]);
    if (missing.length === 0) return;
    const list = missing
      .map(({ digest, platform }) => (platform ? `${platformText(platform)} (${digest})` : digest))
      .join(", ");
    const there = manifests.find(({ platform }, index) => platform !== undefined && !isMissing[index])?.platform;
    const one = there === undefined ? "" : `push with --platform ${platformText(there)}, or `;
    const why = `image ${this.#request.name}: not pulled: ${list}; ${one}pull all with --platform all first`;
    throw new Failure("not-found", "refused", { why });
  }

  async #isMissing({ digest }: Descriptor): Promise<boolean> {
    try {
      await this.#parts.content.info(this.#request.namespace, digest);
      return false;
    } catch (error) {
      if (error instanceof Failure && error.kind === "not-found") return true;
      throw error;
    }
  }

  #blob(descriptor: Descriptor, signal: AbortSignal): Promise<void> {
    let going = this.#gone.get(descriptor.digest);
    if (going === undefined) {
      going = this.#workers.run(signal, () => this.#upload(descriptor, signal));
      this.#gone.set(descriptor.digest, going);
    }
    return going;
  }

  async #upload(descriptor: Descriptor, signal: AbortSignal): Promise<void> {
    const { content } = this.#parts;
    const { namespace, name, reference } = this.#request;
    const row = this.#progress.blob(descriptor, reference);
    // It stays where it is.
    if (isForeignLayer(descriptor.mediaType)) return row.done("skipped");
    if (await this.#repository.exists(descriptor, { signal })) row.done("already exists");
    else {
      const blob = await content.open(namespace, descriptor.digest).catch((error: unknown) => {
        const isGone = error instanceof Failure && error.kind === "not-found" && isLayerType(descriptor.mediaType);
        throw isGone ? layerIsGone(name, descriptor) : error;
      });
      try {
        const { host, path } = this.#repository.reference;
        const from = sourcesOf(blob.info.labels, host).filter((other) => other !== path);
        const source = async function* (offset: number) {
          let at = offset;
          for await (const chunk of blob.read(offset)) {
            at += chunk.length;
            row.at("uploading", at);
            yield chunk;
          }
        };
        await this.#repository.upload(descriptor, source, { signal, from });
      } finally {
        await blob.close();
      }
      row.done("complete");
    }
    await this.#remember(descriptor);
  }

  /** From now on other repositories of the registry may take it from this one. */
  async #remember({ digest }: Descriptor): Promise<void> {
    const { host, path } = this.#repository.reference;
    // A layer that is only there unpacked was in the registry already.
    await unlessMissing(
      relabel(this.#parts.content, this.#request.namespace, digest, (labels) => addSource(labels, host, path)),
    );
  }

  async #bytes(descriptor: Descriptor): Promise<Buffer> {
    return await bytesOf(this.#parts.content, this.#request.namespace, descriptor.digest);
  }
}
