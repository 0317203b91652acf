import type { GrowingFile } from "./growing-file.js";

/** When an archive is refused as too large. */
export interface LayerLimits {
  /** More than so many times the blob's size … */
  ratio: number;
  /** … is only taken as long as so many bytes stay free where the layer file is written. */
  free: number;
  entries: number;
}

export interface LayerConversion {
  /** How errors call the layer: its blob's digest. */
  layer: string;
  /** Path of the blob, a regular file. It is read while it still grows, when `grown` says how far it is. */
  blob: string;
  grown?: GrowingFile;
  /** The descriptor's: what the blob is compressed by must be what this says. "" takes whatever it is. */
  mediaType: string;
  /** Path of the layer file: must not exist; is there when the promise resolves, and not when it rejects. */
  output: string;
  /** The `sha256:…` that the uncompressed archive must have. */
  diffId?: string;
  /**
   * Asked at most once, at the end, by a layer that depends on the ones below: a directory where all of these are mounted as containers see
   * them, which stays until the conversion has ended; undefined where there are none.
   */
  below?: () => Promise<string | undefined>;
  limits?: Partial<LayerLimits>;
  /** Stops it at once. */
  signal: AbortSignal;
  /** How much of the blob was read and how much came out of it, in bytes: now and then. */
  onProgress?: (progress: { read: number; unpacked: number }) => void;
}

export interface ConvertedLayer {
  /** `sha256:…` of the uncompressed archive. */
  diffId: string;
  /** Bytes on the disk. */
  size: number;
  /** Of the layer: what the archive has twice counts once. */
  entries: number;
  /** Whether the archive could become another layer file on other layers: it goes by its chain id then (`dependentKey`). */
  dependsOnBelow: boolean;
  /** Whether it says of its root directory what owner and mode that has. Else it is root's with 0755. */
  namesRoot: boolean;
}

/**
 * Makes an EROFS file of a layer's blob (tar, maybe compressed), in a worker thread. It is on the disk when this resolves.
 * @throws Failure: invalid-argument (bad-layer) names the layer and the entry that is wrong; resource-exhausted when the disk is full or
 *   the archive too large; internal when the worker has ended. The signal's reason, and what `grown` and `below` fail with, as they are
 */
export function convertLayer(_conversion: LayerConversion): Promise<ConvertedLayer> {
  return Promise.reject(new Error("not there yet"));
}
