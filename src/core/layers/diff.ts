export interface Diff {
  /** The upper directory of an overlay: whiteouts are devices 0:0, opaque directories have overlayfs' attribute. Nobody changes it meanwhile. */
  upper: string;
  signal: AbortSignal;
}

/**
 * What is in an upper directory as a layer's tar archive, uncompressed, in an order that depends on the content only. It is made in a
 * worker thread, as fast as it is taken.
 * @throws Failure: failed-precondition (bad-diff) for what an archive can't say. The signal's reason
 */
// biome-ignore lint/correctness/useYield: not there yet
export async function* writeDiff(_diff: Diff): AsyncGenerator<Buffer, void, undefined> {
  throw new Error("not there yet");
}
