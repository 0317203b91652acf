import { ImageNameError, parseImageName } from "../../contract/image-name.js";
import { ImageStore } from "../../proto/containerd/types/transfer/imagestore.js";
import { ImageExportStream, ImageImportStream } from "../../proto/containerd/types/transfer/importexport.js";
import { HTTPDebug, OCIRegistry } from "../../proto/containerd/types/transfer/registry.js";
import type { Any } from "../../proto/google/protobuf/any.js";
import { type CallOptions, callChecks } from "../api/call-options.js";
import type { V1 } from "../api/v1.js";
import { ContainerdError } from "../errors/containerd-error.js";
import {
  anyText,
  type Checks,
  callback,
  checkOptions,
  flag,
  listOf,
  nameText,
  wrong,
} from "../options/option-checks.js";
import { withResolvers } from "../with-resolvers.js";
import { detailsOf, platformsOf } from "./details.js";
import { type Image, type ImageDetails, imageOf } from "./image.js";
import { platformCheck, platformMessage, THIS_PLATFORM } from "./platform.js";
import { authCheck, type RegistryAuth } from "./registry-auth.js";
import { any, type SideStream, TYPES } from "./side-stream.js";
import { type TransferOptions, type TransferStreams, transferImage } from "./transfer.js";
import { type ImagesUsage, usageOf } from "./usage.js";

export interface RegistryOptions extends TransferOptions {
  /** Default: what the daemon finds in its own configuration of Docker. */
  auth?: RegistryAuth | undefined;
  /** Whether the registry is asked without TLS. Default: false; localhost is when it does not answer with it. */
  plainHttp?: boolean | undefined;
}

export interface PullOptions extends RegistryOptions {
  /** Like "linux/arm64", or "all". Default: what this machine runs. */
  platform?: string | undefined;
  /** Whether it is made ready to be run. Default: true. */
  unpack?: boolean | undefined;
}

export interface PushOptions extends RegistryOptions {
  /** Only what is for this platform. Default: all that there is. */
  platform?: string | undefined;
  /** The name at the registry, where it has another one here. */
  as?: string | undefined;
}

export interface ImportOptions extends TransferOptions {
  /** For an archive that does not say what its image is called, or to call it something else. */
  name?: string | undefined;
  /** Like "linux/arm64", or "all". Default: what this machine runs. */
  platform?: string | undefined;
  /** Whether the archive is a root file system, which becomes an image of one layer. Default: what it shows. */
  rootfs?: boolean | undefined;
  /** Whether layers that are not compressed are. Default: false. */
  compress?: boolean | undefined;
  /** Whether it is made ready to be run. Default: true. */
  unpack?: boolean | undefined;
}

export interface ExportOptions extends TransferOptions {
  /** Like "linux/arm64", or "all" that is here. Default: what this machine runs. */
  platform?: string | undefined;
}

export interface InspectOptions extends CallOptions {
  /** Default: what this machine runs, or the one that there is. */
  platform?: string | undefined;
}

export interface ListImagesOptions extends CallOptions {
  /** containerd's filters: `name~=alpine`, `labels.tier==web`; any of them has to fit. */
  filters?: readonly string[] | undefined;
}

export interface RemoveOptions extends CallOptions {
  /** Whether to wait until what only it needed is gone. Default: false. */
  wait?: boolean | undefined;
}

export interface PruneImagesOptions extends CallOptions {
  /** Whether images go that no container has. Default: false, only what no image needs. */
  all?: boolean | undefined;
}

export interface PruneImagesResult {
  /** The names of the images that were removed. */
  readonly removed: readonly string[];
  /** In bytes: blobs and layers that are gone. */
  readonly freed: number;
}

/** What can be imported: the bytes of an archive, or a stream of them. */
export type ArchiveSource = Uint8Array | AsyncIterable<Uint8Array | string>;

const wantedPlatform = (value: unknown, name: string) => {
  if (value !== "all") platformCheck(value, name);
};
const transferChecks: Checks<TransferOptions> = { ...callChecks, onProgress: callback };
const registryChecks: Checks<RegistryOptions> = { ...transferChecks, auth: authCheck, plainHttp: flag };
export const pullChecks: Checks<PullOptions> = { ...registryChecks, platform: wantedPlatform, unpack: flag };
const pushChecks: Checks<PushOptions> = { ...registryChecks, platform: platformCheck, as: nameText };
const importChecks: Checks<ImportOptions> = {
  ...transferChecks,
  name: nameText,
  platform: wantedPlatform,
  rootfs: flag,
  compress: flag,
  unpack: flag,
};
const exportChecks: Checks<ExportOptions> = { ...transferChecks, platform: wantedPlatform };
const inspectChecks: Checks<InspectOptions> = { ...callChecks, platform: platformCheck };
const listChecks: Checks<ListImagesOptions> = { ...callChecks, filters: listOf(anyText) };
const removeChecks: Checks<RemoveOptions> = { ...callChecks, wait: flag };
const pruneChecks: Checks<PruneImagesOptions> = { ...callChecks, all: flag };

/** What an archive is that has no images in it. */
const ROOTFS = "application/vnd.oci.image.layer.v1.tar";

/**
 * The images of a namespace. Names are taken as they are typed, `alpine` is `docker.io/library/alpine:latest`, and told in full.
 * Every method throws {@link ContainerdError}, or the signal's reason; TypeError for what is no name or option.
 */
export class Images {
  readonly #v1: V1;

  /** @internal */
  constructor(v1: V1) {
    this.#v1 = v1;
  }

  /** The images of another namespace. */
  in(namespace: string): Images {
    return new Images(this.#v1.in(namespace));
  }

  /**
   * Fetches an image from its registry and makes it ready to be run. What was there of it already is not fetched again, also after a pull
   * that did not come to its end.
   *
   * @throws ContainerdError: `denied` when the registry wants other credentials, `not-found` when it has no such image, or none for the
   *   platform
   * @example
   * const image = await client.images.pull("alpine:3.20", {
   *   signal: AbortSignal.timeout(60_000),
   *   onProgress: ({ event, name, progress, total }) => console.log(event, name, progress, total),
   * });
   */
  async pull(reference: string, options: PullOptions = {}): Promise<Image> {
    checkOptions(options, pullChecks);
    const name = fullName(reference);
    await transferImage(this.#v1, options, async (streams) => ({
      source: await registryOf(name, options, streams),
      destination: storeOf({ name, ...options }),
    }));
    return await this.get(name, callOf(options));
  }

  /**
   * Sends an image to its registry; what the registry has already is not sent.
   *
   * @example
   * await client.images.push("registry.example/team/app:1", { auth: { username: "me", password: "…" } });
   */
  async push(image: string, options: PushOptions = {}): Promise<void> {
    checkOptions(options, pushChecks);
    const name = fullName(image);
    await transferImage(this.#v1, options, async (streams) => ({
      source: storeOf({ name, platform: options.platform ?? "all", unpack: false }),
      destination: await registryOf(options.as === undefined ? name : fullName(options.as), options, streams),
    }));
  }

  /**
   * Takes the images of an archive: an OCI layout, what `docker save` writes, or a root file system; compressed or not.
   *
   * @returns the images, by the names that the archive or `name` gives them
   * @example
   * const [image] = await client.images.import(createReadStream("app.tar"));
   */
  async import(archive: ArchiveSource, options: ImportOptions = {}): Promise<Image[]> {
    checkOptions(options, importChecks);
    const data = archive instanceof Uint8Array ? [archive] : archive;
    if (typeof (data as Partial<AsyncIterable<unknown>>)?.[Symbol.asyncIterator] !== "function" && !Array.isArray(data))
      throw wrong("archive", "bytes or a stream of them", archive);
    const name = options.name === undefined ? "" : fullName(options.name);
    const names = await transferImage(this.#v1, options, async ({ open }) => {
      const stream = await open();
      const mediaType = options.rootfs ? ROOTFS : "";
      const message = { stream: stream.id, mediaType, forceCompress: options.compress ?? false };
      return {
        source: any(`${TYPES}ImageImportStream`, ImageImportStream.encode(message)),
        destination: storeOf({ ...options, name }),
        beside: stream.sendData(data),
      };
    });
    return await Promise.all(names.map((saved) => this.get(saved, callOf(options))));
  }

  /**
   * Images as an archive, an OCI layout that `docker load` reads as well, piece by piece as it is read; leaving the loop ends it.
   *
   * @throws ContainerdError when it is read: FAILED_PRECONDITION for an image whose layers are only there unpacked
   * @example
   * await pipeline(client.images.export("alpine"), createWriteStream("alpine.tar"));
   */
  async *export(images: string | readonly string[], options: ExportOptions = {}): AsyncGenerator<Buffer, void, void> {
    checkOptions(options, exportChecks);
    const names = typeof images === "string" ? [images] : images;
    listOf(nameText)(names, "images");
    if (names.length === 0) throw wrong("images", "a name, or a list with one at least", names);
    const [name = "", ...more] = names.map(fullName);
    const { platform = THIS_PLATFORM } = options;
    const left = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, left.signal]) : left.signal;
    const { promise: opened, resolve } = withResolvers<SideStream>();
    const done = transferImage(this.#v1, { ...options, signal }, async ({ open }) => {
      const stream = await open();
      resolve(stream);
      const message = {
        ...{ stream: stream.id, mediaType: "", skipCompatibilityManifest: false, skipNonDistributable: false },
        allPlatforms: platform === "all",
        platforms: platform === "all" ? [] : [platformMessage(platform)],
      };
      return {
        source: storeOf({ name, more, platform: "all", unpack: false }),
        destination: any(`${TYPES}ImageExportStream`, ImageExportStream.encode(message)),
        // The streams are needed until all has been read.
        beside: read.promise,
      };
    });
    const read = withResolvers<void>();
    done.catch(() => {});
    try {
      const stream = await Promise.race([opened, done.then(() => opened)]);
      try {
        yield* stream.receiveData();
      } catch (error) {
        // That of the transfer says why.
        await Promise.race([done, read.promise]);
        throw error;
      }
      read.resolve();
      await done;
    } finally {
      read.resolve();
      left.abort();
      await done.catch(() => {});
    }
  }

  /**
   * The images that are there, by their names.
   *
   * @example
   * for (const { name, digest } of await client.images.list()) console.log(name, digest);
   */
  async list(options: ListImagesOptions = {}): Promise<Image[]> {
    checkOptions(options, listChecks);
    const { images } = await this.#v1.images.list({ filters: [...(options.filters ?? [])] }, callOf(options));
    return images.map(imageOf);
  }

  /** @throws ContainerdError `not-found` */
  async get(image: string, options: CallOptions = {}): Promise<Image> {
    checkOptions(options, callChecks);
    const name = fullName(image);
    const { image: found } = await this.#v1.images.get({ name }, options);
    if (found === undefined) throw new ContainerdError("NOT_FOUND", `image "${name}": not found`);
    return imageOf(found);
  }

  /**
   * What an image is made of: configuration, history, layers with their sizes.
   *
   * @example
   * const { config, layers, size } = await client.images.inspect("alpine");
   */
  async inspect(image: string, options: InspectOptions = {}): Promise<ImageDetails> {
    checkOptions(options, inspectChecks);
    const { platform } = options;
    const found = await this.get(image, callOf(options));
    return await detailsOf(this.#v1, found, platform ?? THIS_PLATFORM, platform !== undefined, callOf(options));
  }

  /** What an image is made for, whether its layers are here or not. */
  async platforms(image: Image, options: CallOptions = {}): Promise<string[]> {
    checkOptions(options, callChecks);
    return await platformsOf(this.#v1, image, options);
  }

  /** Another name for an image; one that had it loses it. */
  async tag(image: string, name: string, options: CallOptions = {}): Promise<Image> {
    checkOptions(options, callChecks);
    const [source, target] = [fullName(image), fullName(name)];
    await transferImage(this.#v1, options, async () => ({
      source: storeOf({ name: source, platform: "all", unpack: false }),
      destination: storeOf({ name: target, platform: "all", unpack: false }),
    }));
    return await this.get(target, options);
  }

  /**
   * Takes a name away. What no other name, container or lease needs goes some time after.
   * @throws ContainerdError `not-found`
   */
  async remove(image: string, options: RemoveOptions = {}): Promise<void> {
    checkOptions(options, removeChecks);
    await this.#v1.images.delete({ name: fullName(image), sync: options.wait ?? false }, callOf(options));
  }

  /**
   * Has the daemon let go now of what nothing needs.
   *
   * @example
   * const { removed, freed } = await client.images.prune({ all: true });
   */
  async prune(options: PruneImagesOptions = {}): Promise<PruneImagesResult> {
    checkOptions(options, pruneChecks);
    const call = callOf(options);
    const before = await this.usage(call);
    const removed: string[] = [];
    if (options.all) {
      const [images, { containers }] = await Promise.all([this.list(call), this.#v1.containers.list({}, call)]);
      const used = new Set(containers.map(({ image }) => image));
      for (const { name } of images) {
        if (used.has(name)) continue;
        await this.#v1.images.delete({ name }, call);
        removed.push(name);
      }
    }
    // Whoever lets go of a lease may wait for all that goes.
    const { lease } = await this.#v1.leases.create({}, call);
    await this.#v1.leases.delete({ id: lease!.id, sync: true }, call);
    const after = await this.usage(call);
    const bytes = ({ blobs, snapshots }: ImagesUsage) => blobs.bytes + snapshots.bytes;
    return { removed, freed: Math.max(0, bytes(before) - bytes(after)) };
  }

  /** How much room blobs and snapshots of the namespace take. */
  async usage(options: CallOptions = {}): Promise<ImagesUsage> {
    checkOptions(options, callChecks);
    return await usageOf(this.#v1, options);
  }
}

/** @throws TypeError for what is no name */
export function fullName(image: string): string {
  anyText(image, "image");
  try {
    return parseImageName(image).name;
  } catch (error) {
    if (error instanceof ImageNameError) throw new TypeError(error.message, { cause: error });
    throw error;
  }
}

function callOf({ signal, timeout }: CallOptions): CallOptions {
  return { signal, timeout };
}

/** A registry as one end of a transfer; who answers its questions goes on beside it, and ends with it. */
async function registryOf(
  reference: string,
  { auth, plainHttp = false }: RegistryOptions,
  { open, fail }: TransferStreams,
): Promise<Any> {
  const stream = auth && (await open());
  void stream?.answer(auth!, fail);
  const resolver = {
    authStream: stream?.id ?? "",
    headers: {},
    hostDir: "",
    defaultScheme: plainHttp ? "http" : "",
    httpDebug: HTTPDebug.DISABLED,
    logsStream: "",
  };
  return any(`${TYPES}OCIRegistry`, OCIRegistry.encode({ reference, resolver }));
}

/** The store as one end of a transfer. */
function storeOf({
  name,
  more = [],
  platform = THIS_PLATFORM,
  unpack = true,
}: {
  name: string;
  more?: readonly string[];
  platform?: string | undefined;
  unpack?: boolean | undefined;
}): Any {
  const platforms = platform === "all" ? [] : [platformMessage(platform)];
  const unpacked = platformMessage(platform === "all" ? THIS_PLATFORM : platform);
  const message: ImageStore = {
    ...{ name, labels: {}, platforms, allMetadata: false, manifestLimit: 0 },
    extraReferences: more.map((other) => ({ ...NO_RULE, name: other })),
    unpacks: unpack ? [{ platform: unpacked, snapshotter: "" }] : [],
  };
  return any(`${TYPES}ImageStore`, ImageStore.encode(message));
}

const NO_RULE = { name: "", isPrefix: false, allowOverwrite: false, addDigest: false, skipNamedDigest: false };
