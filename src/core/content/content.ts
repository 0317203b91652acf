import type { Logger } from "pino";
import type { EventBus } from "../events/event-bus.js";
import { Failure } from "../failure/failure.js";
import type { Collection } from "../metadata/collection.js";
import type { Labels } from "../metadata/labels.js";
import type { Leases } from "../metadata/leases.js";
import type { Namespaces } from "../metadata/namespaces.js";
import type { Store } from "../metadata/store.js";
import type { Blob } from "./blob.js";
import type { Ingest } from "./ingest.js";

/** What a namespace knows of a blob. */
export interface ContentInfo {
  digest: string;
  /** In bytes. */
  size: number;
  /** Nanoseconds since the epoch. */
  createdAt: bigint;
  updatedAt: bigint;
  labels: Labels;
}

/** A blob that is being written, or whose writing was given up. */
export interface IngestStatus {
  ref: string;
  /** In bytes: how much of it is there. */
  offset: number;
  /** In bytes, as who writes has said; 0: unknown. */
  total: number;
  /** The digest of content that another namespace has, which needs not be written again; else empty. */
  expected: string;
  /** Nanoseconds since the epoch. */
  startedAt: bigint;
  updatedAt: bigint;
}

export interface WriteOptions {
  /** The digest that it is going to have. */
  expected?: string | undefined;
  /** In bytes; 0 or undefined: unknown. */
  total?: number | undefined;
  /** The lease that protects the ingest, then the content. */
  lease?: string | undefined;
}

export interface ContentParts {
  store: Store;
  namespaces: Namespaces;
  leases: Leases;
  collection: Collection;
  bus: EventBus;
  log: Logger;
}

/** Blobs by their digests: visible in the namespaces that have written them, and stored once. */
export class Content {
  /** @param directory made at the first use */
  constructor(
    readonly directory: string,
    readonly parts: ContentParts,
  ) {}

  /** @throws Failure: not-found, invalid-argument for what is no digest */
  async info(_namespace: string, _digest: string): Promise<ContentInfo> {
    throw unfinished();
  }

  /** Those of a namespace, by their digests. */
  async list(_namespace: string): Promise<ContentInfo[]> {
    throw unfinished();
  }

  /** @param change makes the new labels of those before. @throws Failure: not-found, invalid-argument; what `change` does */
  async update(_namespace: string, _digest: string, _change: (before: ContentInfo) => Labels): Promise<ContentInfo> {
    throw unfinished();
  }

  /** Whatever needs it. @throws Failure (not-found) */
  async delete(_namespace: string, _digest: string): Promise<void> {
    throw unfinished();
  }

  /** To be closed. @throws Failure (not-found) */
  async open(_namespace: string, _digest: string): Promise<Blob> {
    throw unfinished();
  }

  /**
   * Begins to write a blob, or goes on where an earlier writer of the same reference stopped. To be closed, or committed. Content that
   * only other namespaces have needs no writing: the ingest is complete from the beginning, and its commit makes it visible here.
   * @throws Failure: already-exists when the expected content is there, which the lease has then; unavailable while another writes;
   * not-found for the lease; invalid-argument
   */
  async write(_namespace: string, _ref: string, _options: WriteOptions = {}): Promise<Ingest> {
    throw unfinished();
  }

  /** @throws Failure (not-found) */
  async status(_namespace: string, _ref: string): Promise<IngestStatus> {
    throw unfinished();
  }

  /** All of a namespace, by their references. */
  async statuses(_namespace: string): Promise<IngestStatus[]> {
    throw unfinished();
  }

  /** Gives an ingest up, also one that is being written. @throws Failure (not-found) */
  async abort(_namespace: string, _ref: string): Promise<void> {
    throw unfinished();
  }
}

function unfinished(): Failure {
  return new Failure("unimplemented", "refused", { why: "content" });
}
