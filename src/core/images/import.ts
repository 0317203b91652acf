import { createHash, randomBytes } from "node:crypto";
import { statfs } from "node:fs/promises";
import { Readable } from "node:stream";
import { setTimeout } from "node:timers/promises";
import { createGzip } from "node:zlib";
import type { Content } from "../content/content.js";
import type { Ingest } from "../content/ingest.js";
import { Failure, refusal } from "../failure/failure.js";
import type { Labels } from "../metadata/labels.js";
import { parseReference } from "../registry/reference.js";
import { ArchiveContents, hasImages, isArchive, type Kept, TELLING } from "./archive.js";
import { type Assembly, assembleImage, type Coming, type ImageSource } from "./assemble.js";
import { type Compression, compressionOf, decompress, peek } from "./compression.js";
import { childLabels } from "./content-labels.js";
import { discardLayers } from "./discard.js";
import { bytesOf, keepContent, pathOf, storeBytes } from "./documents.js";
import type { ImageRecord, Images } from "./image-records.js";
import {
  type AssemblyParts,
  archiveAnnotations,
  type Destination,
  nameImages,
  namesFor,
  namesFromArchive,
} from "./image-store.js";
import {
  type Descriptor,
  DOCKER_CONFIG,
  DOCKER_LAYER,
  DOCKER_MANIFEST,
  descriptorJson,
  digestOf,
  type Index,
  isLayerType,
  type Manifest,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_LAYER,
  OCI_MANIFEST,
  parseDockerArchive,
  parseLooseIndex,
} from "./manifest.js";
import { HERE } from "./platform.js";
import { Progress, type ProgressListener } from "./progress.js";
import type { TransferLeases } from "./transfer-leases.js";

export interface ImportParts extends AssemblyParts {
  images: Images;
  leases: TransferLeases;
}

export interface ImportRequest {
  namespace: string;
  data: AsyncIterable<Buffer>;
  /** Of a layer: the archive is a root file system. Else what it is shows in it. */
  mediaType: string;
  /** Layers that are not compressed are, before they become content. */
  forceCompress: boolean;
  destination: Destination;
  /** Of the client; else it gets one of its own. */
  lease?: string | undefined;
  signal: AbortSignal;
  listener?: ProgressListener | undefined;
}

/** In ms: how often is looked whether another client has finished to write what comes here as well. */
const PATIENCE = 100;

const BLOB = /^blobs\/([a-z0-9]+)\/([^/]+)$/;
const LAYER_FILE = /(?:^|\/)(?:layer|[0-9a-f]{64})\.tar$/;

/**
 * Takes images from an archive: an OCI layout, what `docker save` writes, or the root file system of one image; compressed or not.
 * @throws Failure that says what is wrong; what `data` does; the signal's reason
 */
export async function importImages(parts: ImportParts, request: ImportRequest): Promise<ImageRecord[]> {
  const { namespace, destination, signal } = request;
  using progress = new Progress(request.listener);
  progress.tell({ event: "Importing" });
  return await parts.leases.during(namespace, request.lease, "import", async (lease) => {
    const assembly: Assembly = { ...parts, namespace, image: destination.name || "archive", lease, progress };
    const images = await readArchive(new ArchiveStore(assembly, request));
    const named = await nameAll(assembly, images, destination, signal);
    const source = new ContentSource(assembly);
    for (const { image, names } of named) {
      const discarded = await assembleImage(
        { ...assembly, image: names[0]! },
        source,
        { ...image, annotations: {} },
        destination,
        signal,
      );
      signal.throwIfAborted();
      await discardLayers(parts.content, namespace, discarded);
    }
    const all = named.flatMap(({ image, names }) => names.map((name) => ({ name, target: image })));
    const records = await nameImages(parts.images, namespace, all, destination.labels, progress);
    progress.tell({ event: "Completed import" });
    return records;
  });
}

/** What an archive has, each image with what it is called there. */
async function readArchive(store: ArchiveStore): Promise<Descriptor[]> {
  const { data, mediaType } = store.request;
  const { head, all } = await peek(data, TELLING);
  const compression = compressionOf(head);
  const first = await beginning(head, compression);
  if (!isArchive(first)) throw refusal("what is to be imported is no archive: it does not begin with an entry of tar");
  const isRootfs = isLayerType(mediaType) || !hasImages(first);
  if (isRootfs) return [await store.rootFileSystem(all, compression)];
  const contents = new ArchiveContents();
  await contents.read(store.decompress(all, compression), (name, entry) => store.keep(name, entry));
  const index = contents.document("index.json");
  if (index !== undefined) return parseLooseIndex("index.json", index);
  const list = contents.document("manifest.json");
  if (list === undefined)
    throw refusal("the archive has neither an index.json nor a manifest.json: no archive of images");
  const images: Descriptor[] = [];
  for (const { config, layers, repoTags } of parseDockerArchive("manifest.json", list))
    images.push(
      ...(await store.dockerImage(
        contents.file(config),
        layers.map((layer) => contents.file(layer)),
        repoTags,
      )),
    );
  return images;
}

/** As much of an archive as its first bytes have. */
async function beginning(head: Buffer, compression: Compression): Promise<Buffer> {
  const chunks: Buffer[] = [];
  const only = async function* () {
    yield head;
  };
  try {
    for await (const chunk of decompress(only(), compression, async () => 0)) chunks.push(chunk);
  } catch {
    // It is cut off, of course.
  }
  return Buffer.concat(chunks);
}

/** Which names each image gets. */
async function nameAll(
  assembly: Assembly,
  images: readonly Descriptor[],
  destination: Destination,
  signal: AbortSignal,
): Promise<{ image: Descriptor; names: string[] }[]> {
  if (images.length === 0) throw refusal("the archive has no image");
  const hasPrefix = destination.rules.some(({ isPrefix }) => isPrefix);
  const hasName = destination.name !== "" || destination.rules.length > 0;
  const named: { image: Descriptor; names: string[] }[] = [];
  if (hasPrefix || !hasName)
    for (const image of images) named.push({ image, names: namesFromArchive(destination, image) });
  if (hasName) {
    const digests = new Set(images.map(({ digest }) => digest));
    const image = digests.size === 1 ? images[0]! : await storeIndex(assembly, images, signal);
    named.push({ image, names: namesFor(destination, image) });
  }
  const found = named.filter(({ names }) => names.length > 0);
  if (found.length === 0)
    throw new Failure("not-found", "refused", {
      why: "the archive does not say what its images are called: give a name",
    });
  return found;
}

/** One name for several images is one of an index that names them. */
async function storeIndex(assembly: Assembly, images: readonly Descriptor[], signal: AbortSignal): Promise<Descriptor> {
  const manifests = images.map(descriptorJson);
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests }));
  const descriptor = { mediaType: OCI_INDEX, digest: digestOf(bytes), size: bytes.length };
  await new ContentSource(assembly).keep(descriptor, bytes, { kind: "index", manifests: [...images] }, signal);
  return descriptor;
}

/** Makes content of what an archive has. */
class ArchiveStore {
  readonly request: ImportRequest;
  readonly #assembly: Assembly;
  #written = 0;

  constructor(assembly: Assembly, request: ImportRequest) {
    this.#assembly = assembly;
    this.request = request;
  }

  decompress(data: AsyncIterable<Buffer>, compression: Compression): AsyncIterable<Buffer> {
    return decompress(data, compression, async () => {
      const { bavail, bsize } = await statfs(this.#assembly.root);
      return bavail * bsize;
    });
  }

  /** A file of an archive of images. A blob has to be what its name says. */
  async keep(name: string, data: AsyncIterable<Buffer>): Promise<Kept> {
    const [, algorithm, hash] = BLOB.exec(name) ?? [];
    if (hash !== undefined) return await this.#write(data, `${algorithm}:${hash}`);
    const isCompressed = this.request.forceCompress && LAYER_FILE.test(name);
    return await this.#write(isCompressed ? compressed(data) : data);
  }

  /** An image of `docker save`, which has a manifest of its own kind; once for each of its names. */
  async dockerImage(config: Kept, layers: readonly Kept[], names: readonly string[]): Promise<Descriptor[]> {
    const manifest: Manifest = { kind: "manifest", config: { mediaType: DOCKER_CONFIG, ...config }, layers: [] };
    for (const layer of layers) {
      const compression = await this.#compressionOf(layer);
      const mediaType = compression === "none" ? DOCKER_LAYER : `${DOCKER_LAYER}.${compression}`;
      manifest.layers.push({ mediaType, ...layer });
    }
    const descriptor = await this.#manifest(manifest, DOCKER_MANIFEST);
    if (names.length === 0) return [descriptor];
    return names.map((name) => ({ ...descriptor, annotations: archiveAnnotations(parseReference(name).name) }));
  }

  /** A root file system becomes an image with one layer. */
  async rootFileSystem(data: AsyncIterable<Buffer>, compression: Compression): Promise<Descriptor> {
    const layer = await this.#write(data);
    const diffId = compression === "none" ? layer.digest : await this.#uncompressedDigest(layer, compression);
    const { os, architecture, variant } = this.request.destination.platforms[0] ?? HERE;
    const created = new Date().toISOString();
    const config = Buffer.from(
      JSON.stringify({
        created,
        architecture,
        os,
        ...(variant === "" ? {} : { variant }),
        config: {},
        rootfs: { type: "layers", diff_ids: [diffId] },
        history: [{ created, comment: "imported root file system" }],
      }),
    );
    const named = { mediaType: OCI_CONFIG, digest: digestOf(config), size: config.length };
    await this.#bytes(named, config, {});
    const mediaType = compression === "none" ? OCI_LAYER : `${OCI_LAYER}+${compression}`;
    return await this.#manifest({ kind: "manifest", config: named, layers: [{ mediaType, ...layer }] }, OCI_MANIFEST);
  }

  async #manifest(manifest: Manifest, mediaType: string): Promise<Descriptor> {
    const config = descriptorJson(manifest.config);
    const layers = manifest.layers.map(descriptorJson);
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers }));
    const descriptor = { mediaType, digest: digestOf(bytes), size: bytes.length };
    await this.#bytes(descriptor, bytes, childLabels(manifest));
    return descriptor;
  }

  async #bytes(descriptor: Descriptor, bytes: Buffer, labels: Labels): Promise<void> {
    const { content, namespace, lease } = this.#assembly;
    const relabel = (before: Labels) => ({ ...before, ...labels });
    await storeBytes(content, namespace, descriptor, bytes, { lease, relabel, signal: this.request.signal });
  }

  async #uncompressedDigest({ digest }: Kept, compression: Compression): Promise<string> {
    const blob = await this.#assembly.content.open(this.#assembly.namespace, digest);
    try {
      const hash = createHash("sha256");
      for await (const chunk of this.decompress(blob.read(), compression)) {
        this.request.signal.throwIfAborted();
        hash.update(chunk);
      }
      return `sha256:${hash.digest("hex")}`;
    } finally {
      await blob.close();
    }
  }

  async #compressionOf({ digest }: Kept): Promise<Compression> {
    const blob = await this.#assembly.content.open(this.#assembly.namespace, digest);
    try {
      const { head } = await peek(blob.read(0, TELLING), TELLING);
      return compressionOf(head);
    } finally {
      await blob.close();
    }
  }

  /** @param expected its digest, if that is known before */
  async #write(data: AsyncIterable<Buffer>, expected?: string): Promise<Kept> {
    const { content, namespace, lease } = this.#assembly;
    const { signal } = this.request;
    this.#written++;
    const ref = `import-${expected ?? `${randomBytes(8).toString("hex")}-${this.#written}`}`;
    for (;;) {
      signal.throwIfAborted();
      let ingest: Ingest;
      try {
        ingest = await content.write(namespace, ref, { expected, lease });
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        if (error.kind === "already-exists") {
          for await (const _ of data) signal.throwIfAborted();
          return { digest: expected!, size: (await content.info(namespace, expected!)).size };
        }
        if (error.kind !== "unavailable") throw error;
        await setTimeout(PATIENCE, undefined, { signal }).catch(() => {});
        continue;
      }
      return await this.#fill(content, ingest, data, expected);
    }
  }

  async #fill(content: Content, ingest: Ingest, data: AsyncIterable<Buffer>, expected?: string): Promise<Kept> {
    const { namespace } = this.#assembly;
    const isElsewhere = ingest.expected !== "";
    let isCommitted = false;
    try {
      // What an earlier one has left may be of another archive.
      if (!isElsewhere && ingest.offset > 0) await ingest.truncate();
      for await (const chunk of data) {
        this.request.signal.throwIfAborted();
        if (!isElsewhere) await ingest.write(chunk);
      }
      const digest = expected ?? ingest.digest();
      const size = ingest.offset;
      try {
        await ingest.commit({ expected: digest });
      } catch (error) {
        if (!(error instanceof Failure && error.kind === "already-exists")) throw error;
      }
      isCommitted = true;
      return { digest, size };
    } finally {
      await ingest.close();
      if (!isCommitted) await content.abort(namespace, ingest.ref).catch(() => {});
    }
  }
}

/** An image whose blobs are content already. */
export class ContentSource implements ImageSource {
  readonly #assembly: Assembly;

  constructor(assembly: Assembly) {
    this.#assembly = assembly;
  }

  async document(descriptor: Descriptor): Promise<Buffer | undefined> {
    const { content, namespace, lease } = this.#assembly;
    if (!(await keepContent(content, namespace, descriptor, lease))) return undefined;
    return await bytesOf(content, namespace, descriptor.digest);
  }

  async keep(descriptor: Descriptor, bytes: Buffer, document: Index | Manifest, signal: AbortSignal): Promise<void> {
    const { content, namespace, lease } = this.#assembly;
    const labels = childLabels(document);
    const change = (before: Labels) => ({ ...before, ...labels });
    await storeBytes(content, namespace, descriptor, bytes, { lease, relabel: change, signal });
  }

  blob(descriptor: Descriptor): Coming {
    const { content, namespace, lease, progress, image } = this.#assembly;
    const { digest, size } = descriptor;
    const done = (async () => {
      if (!(await keepContent(content, namespace, descriptor, lease)))
        throw refusal(`the archive has no blob ${digest}, which image ${image} needs`);
      const info = await content.info(namespace, digest);
      if (info.size !== size) throw refusal(`blob ${digest} has ${info.size} bytes, and its image says ${size}`);
      progress.blob(descriptor, image).done("complete");
    })();
    done.catch(() => {});
    const file = async () => {
      await done;
      return { path: await pathOf(content, namespace, digest) };
    };
    return { file, done };
  }
}

/** Data by gzip. */
function compressed(data: AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  const zipped = createGzip();
  const source = Readable.from(data, { objectMode: false });
  source.once("error", (error) => zipped.destroy(error));
  return source.pipe(zipped);
}
