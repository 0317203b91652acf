import { type Pack, pack } from "tar-stream";
import type { Content } from "../content/content.js";
import { Failure } from "../failure/failure.js";
import { layerIsGone } from "./discard.js";
import { readConfig, readDocument } from "./documents.js";
import type { ImageRecord, Images } from "./image-records.js";
import { archiveAnnotations } from "./image-store.js";
import {
  type Descriptor,
  descriptorJson,
  isConfigType,
  isForeignLayer,
  isIndexType,
  isLayerType,
  type Manifest,
  OCI_INDEX,
} from "./manifest.js";
import { bestOf, HERE, noSuchPlatform, type Platform } from "./platform.js";
import { Progress, type ProgressListener } from "./progress.js";

export interface ExportRequest {
  namespace: string;
  /** Of images, as they are stored. */
  names: readonly string[];
  /** None: what this machine runs. */
  platforms: readonly Platform[];
  allPlatforms: boolean;
  /** Without what Docker before version 25 reads. */
  skipCompatibilityManifest: boolean;
  /** Without layers that their makers do not want to be handed on. */
  skipNonDistributable: boolean;
  signal: AbortSignal;
  listener?: ProgressListener | undefined;
}

/** A manifest that is exported. */
interface Exported {
  manifest: Manifest;
  platform: Platform | undefined;
}

const LAYOUT = Buffer.from('{"imageLayoutVersion":"1.0.0"}');
/** The same images make the same archive. */
const TIME = new Date(0);

/**
 * Images as an archive, an OCI layout that `docker load` reads as well: piece by piece, as it is taken.
 * @throws Failure: not-found; failed-precondition for an image whose layers are only there unpacked. The signal's reason
 */
export async function* exportImages(content: Content, images: Images, request: ExportRequest): AsyncGenerator<Buffer> {
  const { namespace, names, signal } = request;
  using progress = new Progress(request.listener);
  progress.tell({ event: "Exporting" });
  const records: ImageRecord[] = [];
  for (const name of names) records.push(await images.get(namespace, name));
  const plan = new Plan(content, request);
  // What is wrong is known before the first byte.
  for (const record of records) await plan.add(record);
  const archive = pack();
  const written = plan.write(archive, progress);
  written.catch((error: Error) => archive.destroy(error));
  const abort = () => archive.destroy(signal.reason as Error);
  signal.addEventListener("abort", abort, { once: true });
  try {
    signal.throwIfAborted();
    for await (const chunk of archive) yield chunk as Buffer;
    await written;
  } finally {
    signal.removeEventListener("abort", abort);
    archive.destroy(null);
    await written.catch(() => {});
  }
  progress.tell({ event: "Completed export" });
}

/** What is in an archive. */
class Plan {
  readonly #content: Content;
  readonly #request: ExportRequest;
  readonly #blobs = new Map<string, Descriptor>();
  readonly #index: Descriptor[] = [];
  readonly #compatible: object[] = [];

  constructor(content: Content, request: ExportRequest) {
    this.#content = content;
    this.#request = request;
  }

  async add({ name, target }: ImageRecord): Promise<void> {
    const { platforms, allPlatforms } = this.#request;
    const wanted = platforms.length > 0 ? platforms : [HERE];
    const exported = await this.#collect(name, target, allPlatforms ? [] : wanted);
    this.#index.push({ ...target, annotations: { ...target.annotations, ...archiveAnnotations(name) } });
    const one = bestOf(wanted, exported) ?? exported[0];
    if (one === undefined) return;
    const layers = one.manifest.layers.filter(({ mediaType }) => isLayerType(mediaType));
    if (!isConfigType(one.manifest.config.mediaType)) return;
    this.#compatible.push({
      Config: pathOf(one.manifest.config),
      RepoTags: name.includes("@") ? [] : [name],
      Layers: layers.map(pathOf),
    });
  }

  /** Writes all of it, as the archive is taken. */
  async write(archive: Pack, progress: Progress): Promise<void> {
    const { skipCompatibilityManifest, namespace } = this.#request;
    await entry(archive, "oci-layout", LAYOUT);
    const manifests = this.#index.map(descriptorJson);
    const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests };
    await entry(archive, "index.json", Buffer.from(JSON.stringify(index)));
    if (!skipCompatibilityManifest && this.#compatible.length > 0)
      await entry(archive, "manifest.json", Buffer.from(JSON.stringify(this.#compatible)));
    for (const name of ["blobs/", "blobs/sha256/"])
      archive.entry({ name, type: "directory", mode: 0o755, mtime: TIME });
    for (const descriptor of this.#blobs.values()) {
      const row = progress.blob(descriptor, "export");
      const blob = await this.#content.open(namespace, descriptor.digest);
      try {
        const header = { name: pathOf(descriptor), size: blob.info.size, mode: 0o444, mtime: TIME };
        await new Promise<void>((resolve, reject) => {
          const sink = archive.entry(header, (error) => (error ? reject(error) : resolve()));
          const copy = async () => {
            let written = 0;
            for await (const chunk of blob.read()) {
              written += chunk.length;
              row.at("exporting", written);
              if (!sink.write(chunk)) await drained(sink);
              if (archive.destroyed) throw new Failure("cancelled", "call-cancelled", {});
            }
            sink.end(null);
          };
          copy().catch(reject);
        });
        row.done("complete");
      } finally {
        await blob.close();
      }
    }
    archive.finalize();
  }

  /** Adds an image's blobs to the archive's. */
  async #collect(image: string, root: Descriptor, platforms: readonly Platform[]): Promise<Exported[]> {
    const exported: Exported[] = [];
    const made: Platform[] = [];
    const found = await this.#manifests(root, made);
    const wanted =
      platforms.length === 0
        ? found
        : platforms.map((platform) => {
            const one = bestOf([platform], found) ?? found.find((other) => other.platform === undefined);
            if (one === undefined) throw noSuchPlatform(image, [platform], made);
            return one;
          });
    for (const one of new Set(wanted)) {
      for (const index of one.indexes) this.#blobs.set(index.digest, index);
      this.#blobs.set(one.descriptor.digest, one.descriptor);
      this.#blobs.set(one.manifest.config.digest, one.manifest.config);
      for (const layer of one.manifest.layers) await this.#layer(image, layer);
      exported.push(one);
    }
    return exported;
  }

  async #layer(image: string, layer: Descriptor): Promise<void> {
    const { namespace, skipNonDistributable } = this.#request;
    if (isForeignLayer(layer.mediaType) && skipNonDistributable) return;
    try {
      await this.#content.info(namespace, layer.digest);
    } catch (error) {
      if (error instanceof Failure && error.kind === "not-found") throw layerIsGone(image, layer);
      throw error;
    }
    this.#blobs.set(layer.digest, layer);
  }

  /** Those of an image that are there: of an index that was pulled for one platform the others are not. */
  async #manifests(
    descriptor: Descriptor,
    made: Platform[],
    indexes: readonly Descriptor[] = [],
  ): Promise<(Exported & { descriptor: Descriptor; indexes: readonly Descriptor[] })[]> {
    const { namespace } = this.#request;
    const document = await readDocument(this.#content, namespace, descriptor);
    if (document.kind === "manifest") {
      const { config } = document;
      let { platform } = descriptor;
      if (platform === undefined && isConfigType(config.mediaType))
        ({ platform } = await readConfig(this.#content, namespace, config));
      if (platform !== undefined) made.push(platform);
      return [{ descriptor, indexes, manifest: document, platform }];
    }
    const found: (Exported & { descriptor: Descriptor; indexes: readonly Descriptor[] })[] = [];
    for (const child of document.manifests) {
      if (isIndexType(child.mediaType) && indexes.length > 3) continue;
      try {
        found.push(...(await this.#manifests(child, made, [...indexes, descriptor])));
      } catch (error) {
        if (!(error instanceof Failure && error.kind === "not-found")) throw error;
      }
    }
    return found;
  }
}

function pathOf({ digest }: Descriptor): string {
  return `blobs/${digest.replace(":", "/")}`;
}

function entry(archive: Pack, name: string, data: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    archive.entry({ name, mode: 0o444, mtime: TIME }, data, (error) => (error ? reject(error) : resolve()));
  });
}

/** Resolves when it takes more, or nothing any more. */
function drained(sink: ReturnType<Pack["entry"]>): Promise<void> {
  return new Promise((resolve) => {
    sink.once("drain", resolve);
    sink.once("close", resolve);
  });
}
