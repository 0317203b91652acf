import { setTimeout } from "node:timers/promises";
import type { Content } from "../content/content.js";
import { Failure } from "../failure/failure.js";
import type { Labels } from "../metadata/labels.js";
import { blobName } from "./blob-name.js";
import {
  type Descriptor,
  type ImageConfig,
  type Index,
  MAX_DOCUMENT,
  type Manifest,
  parseConfig,
  parseDocument,
} from "./manifest.js";

/** In ms: how often is looked whether another client has finished to write what is wanted. */
const PATIENCE = 100;

/** What is content as a whole. @throws Failure: not-found, invalid-argument for what is larger than a document */
export async function bytesOf(content: Content, namespace: string, digest: string): Promise<Buffer> {
  const blob = await content.open(namespace, digest);
  try {
    return await blob.bytes(MAX_DOCUMENT);
  } finally {
    await blob.close();
  }
}

/** The file of content, which is there for as long as the content is. @throws Failure (not-found) */
export async function pathOf(content: Content, namespace: string, digest: string): Promise<string> {
  const blob = await content.open(namespace, digest);
  await blob.close();
  return blob.path;
}

/** @throws as {@link bytesOf}, and as {@link parseDocument} */
export async function readDocument(
  content: Content,
  namespace: string,
  descriptor: Descriptor,
): Promise<Index | Manifest> {
  return parseDocument(descriptor, await bytesOf(content, namespace, descriptor.digest));
}

/** @throws as {@link bytesOf}, and as {@link parseConfig} */
export async function readConfig(content: Content, namespace: string, { digest }: Descriptor): Promise<ImageConfig> {
  return parseConfig(digest, await bytesOf(content, namespace, digest));
}

/** Whether it is content; if so, the lease has it. */
export async function keepContent(
  content: Content,
  namespace: string,
  descriptor: Descriptor,
  lease: string,
): Promise<boolean> {
  const { digest, size } = descriptor;
  try {
    await content.info(namespace, digest);
    const ingest = await content.write(namespace, blobName(descriptor), { expected: digest, total: size, lease });
    // It has gone just now.
    await ingest.close();
    await content.abort(namespace, ingest.ref);
    return false;
  } catch (error) {
    if (error instanceof Failure && error.kind === "not-found") return false;
    if (error instanceof Failure && error.kind === "already-exists") return true;
    throw error;
  }
}

/** Makes the labels of content, of those that it has. */
export type Relabel = (before: Labels) => Labels;

/** Changes the labels of content. @throws Failure (not-found) */
export async function relabel(content: Content, namespace: string, digest: string, change: Relabel): Promise<void> {
  const { labels: before } = await content.info(namespace, digest);
  const after = change(before);
  if (Object.entries(after).every(([key, value]) => before[key] === value)) return;
  await content.update(namespace, digest, ({ labels }) => change(labels));
}

export interface StoreOptions {
  lease: string;
  relabel: Relabel;
  signal: AbortSignal;
}

/** Makes content of what is in memory; what is content already gets the labels. @throws Failure that says why not; the signal's reason */
export async function storeBytes(
  content: Content,
  namespace: string,
  descriptor: Descriptor,
  bytes: Buffer,
  { lease, relabel: change, signal }: StoreOptions,
): Promise<void> {
  const { digest } = descriptor;
  for (;;) {
    signal.throwIfAborted();
    try {
      const total = bytes.length;
      const ingest = await content.write(namespace, blobName(descriptor), { expected: digest, total, lease });
      try {
        if (ingest.expected === "") {
          if (ingest.offset > 0) await ingest.truncate();
          await ingest.write(bytes);
        }
        await ingest.commit({ size: total, expected: digest, labels: change({}) });
        return;
      } finally {
        await ingest.close();
      }
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      if (error.kind === "already-exists") return await relabel(content, namespace, digest, change);
      if (error.kind !== "unavailable") throw error;
      await setTimeout(PATIENCE, undefined, { signal }).catch(() => {});
    }
  }
}
