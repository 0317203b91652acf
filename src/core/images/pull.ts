import type { Labels } from "../metadata/labels.js";
import { parseReference } from "../registry/reference.js";
import type { Access, Registry, Repository } from "../registry/registry.js";
import { type Assembly, assembleImage, type Coming, type ImageSource } from "./assemble.js";
import { addSource, childLabels } from "./content-labels.js";
import { discardLayers } from "./discard.js";
import { bytesOf, keepContent, pathOf, storeBytes } from "./documents.js";
import type { Arrival, Downloads } from "./downloads.js";
import type { ImageRecord, Images } from "./image-records.js";
import { type AssemblyParts, type Destination, nameImages, namesFor } from "./image-store.js";
import { checkDocumentType, type Descriptor, type Index, isConfigType, type Manifest } from "./manifest.js";
import { Progress, type ProgressListener } from "./progress.js";
import type { TransferLeases } from "./transfer-leases.js";
import type { LayerBlob } from "./unpack.js";

export interface PullParts extends AssemblyParts {
  images: Images;
  leases: TransferLeases;
  downloads: Downloads;
  registry: Registry;
}

export interface PullRequest {
  namespace: string;
  /** As its user has typed it. */
  reference: string;
  access: Access;
  destination: Destination;
  /** Of the client; else it gets one of its own. */
  lease?: string | undefined;
  signal: AbortSignal;
  listener?: ProgressListener | undefined;
}

/**
 * Fetches an image from its registry, and unpacks it. What was fetched by a pull that has not come to its end is there for the next one.
 * @throws Failure that says what is wrong; the signal's reason
 */
export async function pullImage(parts: PullParts, request: PullRequest): Promise<ImageRecord[]> {
  const { namespace, destination, signal } = request;
  const reference = parseReference(request.reference);
  const image = reference.name;
  using progress = new Progress(request.listener);
  progress.tell({ event: `Resolving from ${image}` });
  const repository = await parts.registry.repository(reference, request.access, signal);
  const root: Descriptor = { ...(await repository.resolve({ signal })) };
  checkDocumentType(root);
  progress.tell({ event: `Pulling from ${image}` });
  progress.tell({ event: "fetching image content", name: image, descriptor: root });
  return await parts.leases.during(namespace, request.lease, `pull ${image}`, async (lease) => {
    const assembly: Assembly = { ...parts, namespace, image, lease, progress };
    const source = new RegistrySource(assembly, repository, parts.downloads);
    const discarded = await assembleImage(assembly, source, root, destination, signal);
    const named = { ...destination, name: destination.name || (destination.rules.length === 0 ? image : "") };
    const names = namesFor(named, root).map((name) => ({ name, target: root }));
    signal.throwIfAborted();
    const records = await nameImages(parts.images, namespace, names, destination.labels, progress);
    await discardLayers(parts.content, namespace, discarded);
    progress.tell({ event: `Completed pull from ${image}` });
    return records;
  });
}

class RegistrySource implements ImageSource {
  readonly #assembly: Assembly;
  readonly #repository: Repository;
  readonly #downloads: Downloads;

  constructor(assembly: Assembly, repository: Repository, downloads: Downloads) {
    this.#assembly = assembly;
    this.#repository = repository;
    this.#downloads = downloads;
  }

  async document(descriptor: Descriptor, signal: AbortSignal): Promise<Buffer> {
    const { content, namespace, lease, progress, image } = this.#assembly;
    if (isConfigType(descriptor.mediaType)) {
      await this.blob(descriptor, signal).done;
      return await bytesOf(content, namespace, descriptor.digest);
    }
    const row = progress.blob(descriptor, image);
    if (await keepContent(content, namespace, descriptor, lease)) {
      row.done("already exists");
      return await bytesOf(content, namespace, descriptor.digest);
    }
    const bytes = await this.#repository.manifest(descriptor, { signal });
    row.done("complete");
    return bytes;
  }

  async keep(descriptor: Descriptor, bytes: Buffer, document: Index | Manifest, signal: AbortSignal): Promise<void> {
    const { content, namespace, lease } = this.#assembly;
    const named = childLabels(document);
    const change = (before: Labels) => this.#withSource({ ...before, ...named });
    await storeBytes(content, namespace, descriptor, bytes, { lease, relabel: change, signal });
  }

  blob(descriptor: Descriptor, signal: AbortSignal): Coming {
    const { content, namespace, lease, progress, image } = this.#assembly;
    const row = progress.blob(descriptor, image);
    let isDone = false;
    let arrive!: (arrival: Arrival | undefined) => void;
    const arrival = new Promise<Arrival | undefined>((resolve) => {
      arrive = resolve;
    });
    const fetched = this.#downloads.fetch({
      ...{ namespace, descriptor, lease, signal, repository: this.#repository },
      relabel: (before) => this.#withSource(before),
      onArrival: arrive,
      onProgress: (size) => row.at("downloading", size),
      onRetry: ({ message }) => progress.tell({ event: `retrying: ${message}`, name: image, descriptor }),
    });
    const done = fetched.then(
      (wasThere) => {
        isDone = true;
        row.done(wasThere ? "already exists" : "complete");
      },
      (error: unknown) => {
        arrive(undefined);
        throw error;
      },
    );
    done.catch(() => {});
    const file = async (): Promise<LayerBlob> => {
      const coming = isDone ? undefined : await (await arrival)?.file;
      if (coming !== undefined) return coming;
      await done;
      return { path: await pathOf(content, namespace, descriptor.digest) };
    };
    return { file, done };
  }

  #withSource(labels: Labels): Labels {
    const { host, path } = this.#repository.reference;
    return addSource(labels, host, path);
  }
}
