import { randomUUID } from "node:crypto";
import { Failure } from "../failure/failure.js";
import type { Labels } from "../metadata/labels.js";
import type { Content, ContentInfo } from "./content.js";
import type { Ingest } from "./ingest.js";

export interface NewBlob {
  namespace: string;
  /** By which it is known while it is written; "": one that begins with `kind`, and that nobody else has. */
  ref: string;
  kind: string;
  lease: string | undefined;
}

/**
 * Makes content whose digest nobody knows before; what is there already is as good.
 * @param write writes all of it, and tells the labels
 * @throws Failure; what `write` does
 */
export async function writeBlob(
  content: Content,
  { namespace, ref, kind, lease }: NewBlob,
  write: (ingest: Ingest) => Promise<Labels>,
): Promise<ContentInfo> {
  const ingest = await content.write(namespace, ref === "" ? `${kind}-${randomUUID()}` : ref, { lease });
  try {
    await ingest.truncate();
    const labels = await write(ingest);
    const digest = ingest.digest();
    try {
      return await ingest.commit({ labels });
    } catch (error) {
      if (!(error instanceof Failure) || error.kind !== "already-exists") throw error;
      return await content.info(namespace, digest);
    }
  } catch (error) {
    await ingest.close();
    // Nobody can go on with it.
    if (ref === "") await content.abort(namespace, ingest.ref).catch(() => {});
    throw error;
  }
}
