/** A layer as it is kept: one EROFS file, complete, on the disk, never changed again. */
export interface LayerFile {
  /** What it is stored under: {@link independentKey} or {@link dependentKey}. */
  key: string;
  /** `sha256:…` of the uncompressed archive. */
  diffId: string;
  /** Bytes on the disk. */
  size: number;
  /** Bytes of the uncompressed archive. */
  unpacked: number;
  path: string;
}

/** What is known of one that was made, wherever it is. */
export type MadeLayer = Pick<LayerFile, "diffId" | "size" | "unpacked">;

/** Of a layer that is the same on whatever it is stacked. */
export function independentKey(diffId: string): string {
  return diffId;
}

/**
 * Of a layer that has taken something from the layers below: it is right on these only. Never a diff id, although a lowest layer's chain id
 * is one: the same archive on other layers becomes another file.
 */
export function dependentKey(chainId: string): string {
  return `chain-${chainId}`;
}
