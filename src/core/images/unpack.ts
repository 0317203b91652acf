import { randomBytes } from "node:crypto";
import { type FileHandle, open, rm } from "node:fs/promises";
import { abortable } from "../failure/abortable.js";
import { Failure } from "../failure/failure.js";
import { convertLayer } from "../layers/convert.js";
import type { GrowingFile } from "../layers/growing-file.js";
import { dependentKey, independentKey, type LayerFile } from "../layers/layer-file.js";
import type { Leases } from "../metadata/leases.js";
import type { LayerFiles } from "../snapshots/layer-files.js";
import { SNAPSHOTTER, type Snapshots } from "../snapshots/snapshots.js";
import { type Descriptor, chainIds as idsOfChain } from "./manifest.js";
import { together } from "./together.js";

/** A file that has a layer's blob, or gets it. */
export interface LayerBlob {
  path: string;
  /** How far the file is; undefined: it is whole. */
  grown?: GrowingFile | undefined;
}

/** A layer's blob that is to be made a layer file of. */
export interface WantedBlob {
  descriptor: Descriptor;
  /** Called when the blob is needed: not for a layer that is there already. It may be called again after it has failed. */
  blob(signal: AbortSignal): Promise<LayerBlob>;
  /** Resolves once the blob is known to be what the descriptor says. */
  whole(signal: AbortSignal): Promise<void>;
  /** @param read how many bytes of the blob were read */
  onProgress?: (read: number) => void;
}

/** A layer that is to be unpacked. */
export interface WantedLayer extends WantedBlob {
  diffId: string;
}

export interface UnpackerParts {
  snapshots: Snapshots;
  layers: LayerFiles;
  leases: Leases;
}

/** How often a layer file that has gone again, since nothing used it yet, is made anew. */
const TRIES = 3;

/** Makes snapshots of the layers of images: each layer is converted once, however many want it at the same time. */
export class Unpacker {
  readonly #parts: UnpackerParts;
  /**
   * By diff id, or digest of a blob whose diff id nobody has said: one that many wait for is tried anew by these on layers of their own.
   */
  readonly #conversions = new Map<string, Conversion>();

  constructor(parts: UnpackerParts) {
    this.#parts = parts;
  }

  /**
   * Resolves once there is a committed snapshot for each layer on those below it, named by its chain id, all of them the lease's.
   * @param layers the lowest first
   * @returns the name of the last
   * @throws Failure that says which layer is wrong; the signal's reason
   */
  async unpack(
    namespace: string,
    layers: readonly WantedLayer[],
    lease: string,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const chain = idsOfChain(layers.map(({ diffId }) => diffId));
    await together(signal, (ended, add) => {
      let below: Promise<unknown> = Promise.resolve();
      for (const [index, layer] of layers.entries()) {
        const name = chain[index]!;
        const parent = chain[index - 1] ?? "";
        const place = { namespace, lease, name, parent, below, depth: index, chainId: () => name };
        below = this.#unpack(layer, place, ended);
        add(below);
      }
    });
    return chain.at(-1);
  }

  /**
   * The layer file of a blob whose diff id nobody has said, to be put on a snapshot.
   * @param parent the snapshot's name; "": none
   * @param below the diff ids of the layers that this is put on, the lowest first; undefined where it is not layers alone
   * @throws as {@link unpack}
   */
  async convert(
    blob: WantedBlob,
    { namespace, parent, below }: { namespace: string; parent: string; below: readonly string[] | undefined },
    signal: AbortSignal,
  ): Promise<LayerFile> {
    // What depends on what is none of layers alone is never of use again: its key is nobody else's.
    const unique = `sha256:${randomBytes(32).toString("hex")}`;
    const chainId = (diffId: string) => (below === undefined ? unique : idsOfChain([...below, diffId]).at(-1)!);
    const ground = { namespace, parent, below: Promise.resolve(), depth: below?.length ?? 0, chainId };
    return await this.#convert(blob, ground, signal);
  }

  async #unpack(layer: WantedLayer, place: Place, signal: AbortSignal): Promise<void> {
    const { namespace, lease, name, parent } = place;
    if (await this.#keep(namespace, lease, name)) return;
    for (let tried = 1; ; tried++) {
      const file = await this.#convert(layer, place, signal);
      await abortable(place.below, signal);
      try {
        await this.#parts.snapshots.commitLayer(namespace, name, parent, file, {}, lease);
        return;
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        if (error.kind === "already-exists" && (await this.#keep(namespace, lease, name))) return;
        if ((error.kind !== "not-found" && error.kind !== "already-exists") || tried === TRIES) throw error;
      }
    }
  }

  /** Makes a snapshot that is there the lease's. */
  async #keep(namespace: string, lease: string, name: string): Promise<boolean> {
    if (!(await this.#isThere(namespace, name))) return false;
    await this.#parts.leases.addResource(namespace, lease, { type: `snapshots/${SNAPSHOTTER}`, id: name });
    // It may have gone before the lease had it.
    return await this.#isThere(namespace, name);
  }

  /** Whether there is such a snapshot, with its layer file: one that has lost that gets it anew. */
  async #isThere(namespace: string, name: string): Promise<boolean> {
    try {
      const { kind, layer } = await this.#parts.snapshots.stat(namespace, name);
      if (kind !== "committed") return false;
      return layer === undefined || (await this.#parts.layers.get(layer)) !== undefined;
    } catch (error) {
      if (error instanceof Failure && error.kind === "not-found") return false;
      throw error;
    }
  }

  async #file(diffId: string, chainId: string): Promise<LayerFile | undefined> {
    const { layers } = this.#parts;
    return (await layers.get(independentKey(diffId))) ?? (await layers.get(dependentKey(chainId)));
  }

  async #convert(layer: WantedBlob & { diffId?: string }, place: Ground, signal: AbortSignal): Promise<LayerFile> {
    for (;;) {
      signal.throwIfAborted();
      const { diffId, descriptor } = layer;
      const file = diffId === undefined ? undefined : await this.#file(diffId, place.chainId(diffId));
      if (file !== undefined) return file;
      const name = diffId ?? `blob ${descriptor.digest}`;
      const active = this.#conversions.get(name);
      // Nobody waits for what may wait for a higher layer: another image may have the same layers in another order.
      if (active !== undefined && active.depth <= place.depth) {
        // What it has failed with, or made for layers that are not ours, is for who has begun it.
        const made = await active.join(signal).catch(() => {});
        if (diffId === undefined && made?.key === independentKey(made?.diffId ?? "")) return made;
        continue;
      }
      const conversion = new Conversion(place.depth, (ended) => this.#make(layer, place, ended));
      this.#conversions.set(name, conversion);
      conversion.done
        .finally(() => {
          if (this.#conversions.get(name) === conversion) this.#conversions.delete(name);
        })
        .catch(() => {});
      return await conversion.join(signal);
    }
  }

  async #make(layer: WantedBlob & { diffId?: string }, place: Ground, signal: AbortSignal): Promise<LayerFile> {
    const { layers } = this.#parts;
    const output = await layers.temporary();
    try {
      const made = await this.#convertInto(output, layer, place, signal);
      await layer.whole(signal);
      const { diffId, size, unpacked, dependsOnBelow } = made;
      return await layers.add(dependsOnBelow ? dependentKey(place.chainId(diffId)) : independentKey(diffId), output, {
        diffId,
        size,
        unpacked,
      });
    } catch (error) {
      await rm(output, { force: true });
      throw error;
    }
  }

  async #convertInto(output: string, layer: WantedBlob & { diffId?: string }, place: Ground, signal: AbortSignal) {
    const { descriptor, diffId, onProgress } = layer;
    let release = () => {};
    const below = async () => {
      await abortable(place.below, signal);
      if (place.parent === "") return undefined;
      return await this.#mounted(place, (released) => {
        release = released;
      });
    };
    const convert = async ({ path, grown }: LayerBlob) => {
      // Its name may change while it is read.
      const file = await open(path);
      try {
        return await convertLayer({
          layer: descriptor.digest,
          blob: pathOf(file),
          ...(grown && { grown }),
          mediaType: descriptor.mediaType,
          output,
          ...(diffId !== undefined && { diffId }),
          below,
          signal,
          ...(onProgress && { onProgress: ({ read }) => onProgress(read) }),
        });
      } finally {
        await file.close();
      }
    };
    try {
      const blob = await layer.blob(signal);
      if (blob.grown === undefined) return await convert(blob);
      try {
        return await convert(blob);
      } catch (error) {
        signal.throwIfAborted();
        // It may have read what was thrown away afterwards, or have come too late for the file's name.
        await layer.whole(signal);
        if (!isPassing(error, blob.grown)) throw error;
        return await convert(await layer.blob(signal));
      }
    } finally {
      release();
    }
  }

  /** Where all below a layer is mounted, until it is released. */
  #mounted({ namespace, parent }: Ground, onRelease: (release: () => void) => void): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#parts.snapshots
        .withMounted(namespace, parent, async (directory) => {
          await new Promise<void>((release) => {
            onRelease(release);
            resolve(directory);
          });
        })
        .catch(reject);
    });
  }
}

/** What a layer is put on. */
interface Ground {
  namespace: string;
  parent: string;
  /** Resolves once the snapshot is there that it is put on. */
  below: Promise<unknown>;
  /** How many layers are below it. */
  depth: number;
  /** Of a layer with this diff id there. */
  chainId(diffId: string): string;
}

/** Where a layer's snapshot goes. */
interface Place extends Ground {
  lease: string;
  /** The chain id. */
  name: string;
}

/** Work that ends when nobody waits for it any more. */
class Conversion {
  readonly done: Promise<LayerFile>;
  readonly depth: number;
  readonly #ended = new AbortController();
  #waiting = 0;

  /** @param depth of the layer: it may wait for those below */
  constructor(depth: number, work: (signal: AbortSignal) => Promise<LayerFile>) {
    this.depth = depth;
    this.done = work(this.#ended.signal);
  }

  async join(signal: AbortSignal): Promise<LayerFile> {
    this.#waiting++;
    try {
      return await abortable(this.done, signal);
    } finally {
      this.#waiting--;
      if (this.#waiting === 0) this.#ended.abort(new Failure("cancelled", "call-cancelled", {}));
    }
  }
}

/** A name of an open file that holds as long as it is open. */
function pathOf({ fd }: FileHandle): string {
  return `/proc/self/fd/${fd}`;
}

/** Whether a conversion that has failed may succeed with the whole blob. */
function isPassing(error: unknown, { hasFailed }: GrowingFile): boolean {
  return hasFailed || (error as NodeJS.ErrnoException).code === "ENOENT";
}
