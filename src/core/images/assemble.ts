import type { Content } from "../content/content.js";
import { Failure } from "../failure/failure.js";
import { Workers } from "../scheduling/workers.js";
import { SNAPSHOTTER } from "../snapshots/snapshots.js";
import { snapshotLabels, UNCOMPRESSED } from "./content-labels.js";
import { relabel } from "./documents.js";
import {
  checkDocumentType,
  type Descriptor,
  type ImageConfig,
  type Index,
  isConfigType,
  isLayerType,
  type Manifest,
  parseConfig,
  parseDocument,
} from "./manifest.js";
import { bestOf, noSuchPlatform, type Platform } from "./platform.js";
import type { Progress } from "./progress.js";
import { together } from "./together.js";
import type { LayerBlob, Unpacker, WantedLayer } from "./unpack.js";

/** Deeper indexes in indexes than anybody makes. */
const MAX_DEPTH = 4;
/** How many manifests and indexes one image may have in all. */
const MAX_DOCUMENTS = 4000;

/** A blob that is content, or becomes it. */
export interface Coming {
  /** Where it can be read; maybe while it still comes. */
  file(): Promise<LayerBlob>;
  /** Rejects when it does not come. */
  done: Promise<void>;
}

/** Where an image comes from; what it gives is content then, and the lease's. */
export interface ImageSource {
  /** The bytes of an index, a manifest or a config; undefined: it is not there, as in an archive that has only a part of an image. */
  document(descriptor: Descriptor, signal: AbortSignal): Promise<Buffer | undefined>;
  /** A document is one: its content has labels then for what it names. */
  keep(descriptor: Descriptor, bytes: Buffer, document: Index | Manifest, signal: AbortSignal): Promise<void>;
  blob(descriptor: Descriptor, signal: AbortSignal): Coming;
}

/** What of an image is wanted. */
export interface Selection {
  /** None: all. */
  platforms: readonly Platform[];
  /** Manifests and configs of all platforms, also of those whose layers are not wanted. */
  allMetadata: boolean;
  /** For how many manifests of an index; 0: all that are wanted. */
  manifestLimit: number;
  /** For which platforms there have to be snapshots. */
  unpacks: readonly Platform[];
}

export interface Assembly {
  content: Content;
  unpacker: Unpacker;
  namespace: string;
  /** How errors and progress call it. */
  image: string;
  lease: string;
  progress: Progress;
  /** How many blobs come at a time. */
  workers: number;
  /** `--root` */
  root: string;
  /** Layers are not wanted as content where they are wanted as snapshots. */
  discardBlobs: boolean;
}

/** One manifest with what it says, for one platform. */
interface Candidate {
  descriptor: Descriptor;
  manifest: Manifest;
  /** Undefined: an artifact, which is not for containers. */
  config: ImageConfig | undefined;
  /** As the index says or, without one, the config. */
  platform: Platform | undefined;
}

/**
 * Has all that is wanted of an image come, and unpacked.
 * @returns layers whose blobs nobody needs any more, when blobs are to be discarded
 * @throws Failure that says what is wrong with the image; the signal's reason
 */
export async function assembleImage(
  assembly: Assembly,
  source: ImageSource,
  root: Descriptor,
  selection: Selection,
  signal: AbortSignal,
): Promise<Descriptor[]> {
  const { candidates, made } = await collectCandidates(source, root, selection, signal);
  const chosen = choose(assembly.image, candidates, made, selection);
  const unpacked = new Set<Candidate>();
  const images = chosen.filter(({ config }) => config !== undefined);
  for (const platform of images.length > 0 ? selection.unpacks : [])
    unpacked.add(oneFor(assembly.image, platform, images, made));
  const layers = new Layers(assembly, source);
  await together(signal, (ended, add) => {
    for (const candidate of chosen) add(layers.bring(candidate, unpacked.has(candidate), ended));
  });
  if (!assembly.discardBlobs) return [];
  const needed = new Set(chosen.filter((one) => !unpacked.has(one)).flatMap(({ manifest }) => digests(manifest)));
  return [...unpacked]
    .flatMap(({ manifest }) => manifest.layers)
    .filter((layer) => isLayerType(layer.mediaType) && !needed.has(layer.digest));
}

function digests({ layers }: Manifest): string[] {
  return layers.map(({ digest }) => digest);
}

/** Reads what says which manifests there are. */
async function collectCandidates(
  source: ImageSource,
  root: Descriptor,
  selection: Selection,
  signal: AbortSignal,
): Promise<{ candidates: Candidate[]; made: Platform[] }> {
  const candidates = new Map<string, Candidate>();
  const made: Platform[] = [];
  const seen = new Set<string>();
  const visit = async (descriptor: Descriptor, depth: number, ended: AbortSignal): Promise<void> => {
    // The same one may be named twice; nothing is read twice.
    if (seen.has(descriptor.digest)) return;
    seen.add(descriptor.digest);
    if (depth > MAX_DEPTH || seen.size > MAX_DOCUMENTS)
      throw refused(`${root.digest} has ${depth > MAX_DEPTH ? "indexes in indexes" : "manifests"} without end`);
    checkDocumentType(descriptor);
    const bytes = await source.document(descriptor, ended);
    if (bytes === undefined) {
      if (descriptor === root) throw new Failure("not-found", "refused", { why: `content ${root.digest}` });
      return;
    }
    const document = parseDocument(descriptor, bytes);
    await source.keep(descriptor, bytes, document, ended);
    if (document.kind === "index") {
      for (const { platform } of document.manifests) if (platform) made.push(platform);
      const children = wantedChildren(document.manifests, selection);
      await together(ended, (childrenEnd, add) => {
        for (const child of children) add(visit(child, depth + 1, childrenEnd));
      });
      return;
    }
    let config: ImageConfig | undefined;
    if (isConfigType(document.config.mediaType)) {
      const text = await source.document(document.config, ended);
      if (text === undefined) return;
      config = parseConfig(document.config.digest, text);
    }
    const platform = descriptor.platform ?? config?.platform;
    if (descriptor === root && platform) made.push(platform);
    candidates.set(descriptor.digest, { descriptor, manifest: document, config, platform });
  };
  await visit(root, 0, signal);
  // In the order of the documents, not of their arrival.
  return { candidates: [...seen].flatMap((digest) => candidates.get(digest) ?? []), made };
}

/** Of an index, what has to be looked at. */
function wantedChildren(manifests: readonly Descriptor[], selection: Selection): Descriptor[] {
  const { platforms, allMetadata } = selection;
  if (platforms.length === 0 || allMetadata) return [...manifests];
  const best = new Set(platforms.map((platform) => bestOf([platform], manifests)));
  // What does not say what it is for has to be asked.
  return manifests.filter((manifest) => best.has(manifest) || manifest.platform === undefined);
}

function choose(
  image: string,
  candidates: readonly Candidate[],
  made: readonly Platform[],
  { platforms, manifestLimit }: Selection,
): Candidate[] {
  let chosen = [...candidates];
  if (platforms.length > 0) {
    const found = new Set(platforms.map((platform) => oneFor(image, platform, candidates, made)));
    chosen = candidates.filter((candidate) => found.has(candidate));
  }
  return manifestLimit > 0 ? chosen.slice(0, manifestLimit) : chosen;
}

/** @throws Failure (not-found) that lists what there is */
function oneFor(
  image: string,
  platform: Platform,
  candidates: readonly Candidate[],
  made: readonly Platform[],
): Candidate {
  const found = bestOf([platform], candidates) ?? candidates.find(isForAny);
  if (found === undefined) throw noSuchPlatform(image, [platform], made);
  return found;
}

/** Some programs that make images do not say what they are for; artifacts can't. */
function isForAny({ config, platform }: Candidate): boolean {
  return config === undefined || platform === undefined || (platform.os === "" && platform.architecture === "");
}

/** Brings the blobs of manifests, and makes snapshots of layers. */
class Layers {
  readonly #assembly: Assembly;
  readonly #source: ImageSource;
  readonly #workers: Workers;
  readonly #coming = new Map<string, Coming>();

  constructor(assembly: Assembly, source: ImageSource) {
    this.#assembly = assembly;
    this.#source = source;
    this.#workers = new Workers(assembly.workers);
  }

  async bring(candidate: Candidate, isUnpacked: boolean, signal: AbortSignal): Promise<void> {
    const { manifest, config } = candidate;
    const blobs = config === undefined ? [manifest.config, ...manifest.layers] : manifest.layers;
    const wantsBlobs = !(isUnpacked && this.#assembly.discardBlobs);
    await together(signal, (ended, add) => {
      if (isUnpacked && config !== undefined) add(this.#unpack(candidate, config, ended));
      for (const blob of blobs) if (wantsBlobs || !isLayerType(blob.mediaType)) add(this.#blob(blob, ended).done);
    });
  }

  async #unpack({ descriptor, manifest }: Candidate, config: ImageConfig, signal: AbortSignal): Promise<void> {
    const { unpacker, namespace, lease, content } = this.#assembly;
    const { diffIds } = config;
    const layers = manifest.layers.filter(({ mediaType }) => isLayerType(mediaType));
    if (layers.length !== diffIds.length)
      throw refused(
        `manifest ${descriptor.digest} has ${layers.length} layers, and its config ${manifest.config.digest} ${diffIds.length} diff ids`,
      );
    const wanted = layers.map((layer, index) => this.#wanted(layer, diffIds[index]!));
    const name = await unpacker.unpack(namespace, wanted, lease, signal);
    await together(signal, (_, add) => {
      for (const [index, { digest }] of layers.entries()) {
        const labels = { [UNCOMPRESSED]: diffIds[index]! };
        // Of a layer that came as a snapshot there is no content.
        add(
          this.#coming
            .get(digest)
            ?.done.then(() => relabel(content, namespace, digest, (before) => ({ ...before, ...labels }))) ?? NOTHING,
        );
      }
      if (name === undefined) return;
      const snapshot = snapshotLabels(SNAPSHOTTER, name);
      add(relabel(content, namespace, manifest.config.digest, (before) => ({ ...before, ...snapshot })));
    });
    for (const layer of layers) this.#assembly.progress.blob(layer, this.#assembly.image).done("extracted");
  }

  #wanted(descriptor: Descriptor, diffId: string): WantedLayer {
    const progress = this.#assembly.progress.blob(descriptor, this.#assembly.image);
    return {
      descriptor,
      diffId,
      blob: (signal) => this.#blob(descriptor, signal).file(),
      whole: (signal) => this.#blob(descriptor, signal).done,
      onProgress: (read) => progress.extracts(read),
    };
  }

  /** A blob that is named twice comes once. */
  #blob(descriptor: Descriptor, signal: AbortSignal): Coming {
    const { digest } = descriptor;
    const known = this.#coming.get(digest);
    if (known !== undefined) return known;
    let begin!: (coming: Coming) => void;
    let fail!: (reason: unknown) => void;
    const begun = new Promise<Coming>((resolve, reject) => {
      begin = resolve;
      fail = reject;
    });
    begun.catch(() => {});
    const done = this.#workers.run(signal, async () => {
      const coming = this.#source.blob(descriptor, signal);
      begin(coming);
      await coming.done;
    });
    done.catch(fail);
    const coming = { file: async () => await (await begun).file(), done };
    this.#coming.set(digest, coming);
    return coming;
  }
}

const NOTHING = Promise.resolve();

function refused(why: string): Failure {
  return new Failure("invalid-argument", "refused", { why });
}
