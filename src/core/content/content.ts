import { open } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { now } from "../../system/linux/clock.js";
import { errorText } from "../../system/linux/libc.js";
import type { NewEvent } from "../events/event.js";
import type { EventBus } from "../events/event-bus.js";
import { Failure, refusal } from "../failure/failure.js";
import {
  type Collection,
  isRootLabelled,
  isYoung,
  type Kind,
  type Node,
  referencesOf,
} from "../metadata/collection.js";
import { isPrintable } from "../metadata/identifier.js";
import { checkLabels, type Labels, presentLabels } from "../metadata/labels.js";
import type { Leases } from "../metadata/leases.js";
import type { Namespaces } from "../metadata/namespaces.js";
import type { Key, Store, Table } from "../metadata/store.js";
import { FirstUse } from "../scheduling/first-use.js";
import { Blob, fileChunks } from "./blob.js";
import type { ContentEvent } from "./content-event.js";
import { ContentFiles, fileFailure, type Known } from "./content-files.js";
import { checkDigest, Digester, digestParts, faultOfDigest } from "./digest.js";
import { type Committed, Ingest, type IngestOwner } from "./ingest.js";

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

interface ContentRecord extends ContentInfo {
  /** Nanoseconds since the epoch: when somebody without a lease has made or wanted it, whom nothing that needs it has come from since. */
  newSince?: bigint;
}

interface IngestRecord {
  /** Of its directory. */
  id: string;
  /** The digest of content that another namespace has, where it is that: then there is no file. */
  expected: string;
  total: number;
  /** Nanoseconds since the epoch. */
  startedAt: bigint;
  /** When a writer has last taken it up. */
  usedAt: bigint;
  /** Of no lease. */
  isFree: boolean;
}

/** A writer, from the moment that its reference is taken. */
interface Writer {
  /** In ms, of this process's clock. */
  readonly since: number;
  ingest: Ingest | undefined;
}

/** In bytes: what a key of the store has room for. */
const MAX_REF = 1024;

/** How many records are looked at in one look. */
const CHECKED_AT_A_TIME = 64;

/** How often, and after how long in ms at most, a reference is tried that somebody else writes: he may be about to end. */
const TRIES = 8;
const LONGEST_WAIT = 128;

/** Blobs by their digests: visible in the namespaces that have written them, and stored once. */
export class Content {
  readonly #parts: ContentParts;
  readonly #files: ContentFiles;
  readonly #records: Table<ContentRecord>;
  /** Who has a blob: by digest, namespace and, of an ingest that is another namespace's content, its reference. In bytes, its size. */
  readonly #holders: Table<number>;
  readonly #ingests: Table<IngestRecord>;
  readonly #writers = new Map<string, Writer>();
  readonly #prepared = new FirstUse(() => this.#prepareNow());

  /** @param directory made at the first use */
  constructor(directory: string, parts: ContentParts) {
    const { store, namespaces, collection } = parts;
    this.#parts = parts;
    this.#files = new ContentFiles(directory);
    this.#records = store.table("content");
    this.#holders = store.table("content-holders");
    this.#ingests = store.table("ingests");
    namespaces.contain({ name: "blobs", isIn: (namespace) => this.#records.has([namespace]) });
    namespaces.onDelete((namespace) => {
      for (const key of this.#ingests.keys([namespace]))
        this.#ingests.put(key, { ...this.#ingests.get(key)!, isFree: true, usedAt: 0n });
      collection.soon();
    });
    collection.register(this.#contentKind());
    collection.register(this.#ingestKind());
  }

  /** @throws Failure: not-found, invalid-argument for what is no digest */
  async info(namespace: string, digest: string): Promise<ContentInfo> {
    checkDigest(digest);
    return infoOf(await this.#parts.store.read(() => this.#require(namespace, digest)));
  }

  /** Those of a namespace, by their digests. */
  async list(namespace: string): Promise<ContentInfo[]> {
    return (await this.#parts.store.read(() => this.#records.list([namespace]))).map(infoOf);
  }

  /**
   * @param change makes the new labels of those before
   * @throws Failure: not-found, invalid-argument; what `change` does
   */
  async update(namespace: string, digest: string, change: (before: ContentInfo) => Labels): Promise<ContentInfo> {
    checkDigest(digest);
    const record = await this.#parts.store.write(() => {
      const before = this.#require(namespace, digest);
      const labels = change(infoOf(before));
      checkLabels(labels, "info.Labels: ");
      return this.#put(namespace, { ...before, labels, updatedAt: now() });
    });
    return infoOf(record);
  }

  /** Whatever needs it. @throws Failure: not-found, invalid-argument */
  async delete(namespace: string, digest: string): Promise<void> {
    checkDigest(digest);
    const record = await this.#parts.store.write(() => {
      const record = this.#require(namespace, digest);
      return this.#remove(namespace, digest) ? record : undefined;
    });
    this.#tell({ topic: "/content/delete", namespace, object: digest, payload: {} });
    if (record !== undefined) await this.#removeBlobFile(record);
    // What it alone has needed goes.
    this.#parts.collection.soon();
  }

  /** To be closed. @throws Failure: not-found, invalid-argument */
  async open(namespace: string, digest: string): Promise<Blob> {
    return await Blob.open(await this.info(namespace, digest), this.#files.blobPath(digest));
  }

  /**
   * Begins to write a blob, or goes on where an earlier writer of the same reference stopped. To be closed, or committed. Content that
   * only other namespaces have needs no writing: the ingest is complete from the beginning, and its commit makes it visible here.
   * @throws Failure: already-exists when the expected content is there, which the lease has then; unavailable while another writes;
   * not-found for the lease; invalid-argument
   */
  async write(namespace: string, ref: string, options: WriteOptions = {}): Promise<Ingest> {
    const { expected = "", total = 0, lease } = options;
    checkRef(ref);
    if (expected !== "") checkDigest(expected);
    await this.#prepared.done();
    const name = writerName(namespace, ref);
    const writer = await this.#take(name, ref);
    const release = () => {
      if (this.#writers.get(name) === writer) this.#writers.delete(name);
    };
    let ingest: Ingest | undefined;
    try {
      const fileSize = expected === "" ? undefined : await this.#files.blobSize(expected);
      const begun = await this.#parts.store.write(() =>
        this.#begin(namespace, ref, expected, { total, lease, fileSize }),
      );
      if (begun === undefined) throw new Failure("already-exists", "content-exists", { digest: expected });
      ingest = this.#ingestOf(namespace, ref, begun.record, { expected, lease, release });
      await ingest.open(total);
      if (begun.isAnew) await ingest.truncate();
      writer.ingest = ingest;
      return ingest;
    } catch (error) {
      await ingest?.close();
      release();
      throw error;
    }
  }

  /** @throws Failure (not-found) */
  async status(namespace: string, ref: string): Promise<IngestStatus> {
    const record = await this.#parts.store.read(() => this.#ingest(namespace, ref));
    if (record === undefined) throw new Failure("not-found", "no-ingest", { ref });
    return await this.#statusOf(namespace, ref, record);
  }

  /** All of a namespace, by their references. */
  async statuses(namespace: string): Promise<IngestStatus[]> {
    const records = await this.#parts.store.read(() =>
      this.#ingests.keys([namespace]).map(([, ref]) => ({ ref: ref!, record: this.#ingests.get([namespace, ref!])! })),
    );
    return await Promise.all(records.map(({ ref, record }) => this.#statusOf(namespace, ref, record)));
  }

  /** Gives an ingest up, also one that is being written: its writer gets an error. @throws Failure (not-found) */
  async abort(namespace: string, ref: string): Promise<void> {
    await this.#prepared.done();
    const record = await this.#parts.store.write(() => {
      const record = this.#ingest(namespace, ref);
      if (record !== undefined) this.#forgetIngest(namespace, ref, record);
      return record;
    });
    if (record === undefined) throw new Failure("not-found", "no-ingest", { ref });
    const why = `the writing of ${JSON.stringify(ref)} was aborted`;
    await this.#writers.get(writerName(namespace, ref))?.ingest?.end(new Failure("cancelled", "refused", { why }));
    await this.#removeIngestFiles(record);
  }

  /** What is kept is there and what is no more is gone, as far as files are concerned: for the first change of this process. */
  async #prepareNow(): Promise<void> {
    // Whose the store is, his are the files as well: no other daemon has it.
    const look = await this.#look();
    await this.#files.prepare();
    await this.#files.removeUnknown(look);
  }

  /** What the records know of; of ingests, those that are there now. */
  async #look() {
    const { store } = this.#parts;
    const ids = new Set(await store.read(() => this.#ingests.list([]).map(({ id }) => id)));
    const known = { hasBlob: (digest: string) => this.#holders.has([digest]), hasIngest: (id: string) => ids.has(id) };
    return <T>(work: (from: Known) => T) => store.read(() => work(known));
  }

  /**
   * Tells what is not as it should be: of records and files, while nobody writes.
   * @param isThorough also reads every blob, and compares its digest
   */
  async *check(isThorough: boolean): AsyncGenerator<string> {
    const { store } = this.#parts;
    for await (const path of this.#files.unknown(await this.#look())) yield `${path}: a file that no record knows of`;
    for (let after: Key | undefined; ; ) {
      const page = await store.read(() => this.#records.page(after, CHECKED_AT_A_TIME));
      if (page.length === 0) break;
      after = page.at(-1)!.key;
      for (const { key, value } of page)
        for (const why of await this.#faultsOf(value, isThorough)) yield `content ${key.join(" ")}: ${why}`;
    }
    for (let after: Key | undefined; ; ) {
      const page = await store.read(() => this.#holders.page(after, CHECKED_AT_A_TIME));
      if (page.length === 0) break;
      after = page.at(-1)!.key;
      for (const { key } of page) {
        const [digest, namespace, ref] = key as [string, string, string?];
        const isThere = await store.read(() =>
          ref === undefined ? this.#records.get([namespace, digest]) : this.#ingests.get([namespace, ref]),
        );
        if (isThere === undefined) yield `${key.join(" ")}: keeps a blob, and is none`;
      }
    }
  }

  async #faultsOf({ digest, size }: ContentRecord, isThorough: boolean): Promise<string[]> {
    const path = this.#files.blobPath(digest);
    const found = await this.#files.blobSize(digest);
    if (found === undefined) return [`no file ${path}`];
    if (found !== size) return [`${path} has ${found} bytes, not ${size}`];
    if (!isThorough) return [];
    const actual = await digestOfFile(path, digestParts(digest).algorithm);
    return actual === digest ? [] : [`${path} has the digest ${actual}`];
  }

  /** Takes a reference for a writer. @throws Failure (unavailable) while another one has it */
  async #take(name: string, ref: string): Promise<Writer> {
    for (let tries = 1; ; tries++) {
      const other = this.#writers.get(name);
      if (other === undefined) {
        const writer: Writer = { since: performance.now(), ingest: undefined };
        this.#writers.set(name, writer);
        return writer;
      }
      if (tries === TRIES) {
        const held = Math.ceil(performance.now() - other.since);
        throw new Failure("unavailable", "ingest-locked", { ref, held });
      }
      await delay(Math.min(2 ** tries, LONGEST_WAIT));
    }
  }

  /**
   * Within {@link Store.write}.
   * @param from.fileSize of the file that has the expected digest, where there is one
   * @returns undefined when the content is there; else the ingest, and whether what is written of it is of no use
   */
  #begin(
    namespace: string,
    ref: string,
    expected: string,
    from: { total: number; lease: string | undefined; fileSize: number | undefined },
  ): { record: IngestRecord; isAnew: boolean } | undefined {
    const { namespaces, leases, collection } = this.#parts;
    const { total, lease, fileSize } = from;
    namespaces.use(namespace);
    // One whose file somebody has removed is written again, and whole for all with the commit.
    const there = expected === "" ? undefined : this.#records.get([namespace, expected]);
    if (there !== undefined && there.size === fileSize) {
      if (lease === undefined) this.#put(namespace, { ...there, newSince: now() });
      else leases.hold(namespace, lease, { type: "content", id: expected });
      return undefined;
    }
    const before = this.#ingests.get([namespace, ref]);
    const size = expected === "" ? undefined : this.#holders.list([expected])[0];
    const isShared = size !== undefined && size === fileSize && (total === 0 || total === size);
    if (before !== undefined) this.#forgetIngest(namespace, ref, before);
    const record: IngestRecord = {
      id: before?.id ?? this.#files.newId(),
      expected: isShared ? expected : "",
      total: isShared ? size : (before?.total ?? total),
      startedAt: before?.startedAt ?? now(),
      usedAt: now(),
      isFree: lease === undefined && (before?.isFree ?? true),
    };
    this.#ingests.put([namespace, ref], record);
    if (isShared) this.#holders.put([expected, namespace, ref], size);
    collection.made({ kind: "ingests", namespace, key: ref });
    if (lease !== undefined) leases.hold(namespace, lease, { type: "ingests", id: ref });
    return { record, isAnew: total !== 0 && before !== undefined && before.total !== 0 && total !== before.total };
  }

  #ingestOf(
    namespace: string,
    ref: string,
    record: IngestRecord,
    { expected, lease, release }: { expected: string; lease: string | undefined; release: () => void },
  ): Ingest {
    const { id, total, startedAt } = record;
    const shared = { digest: record.expected, path: this.#files.blobPath(record.expected), size: total };
    const owner: IngestOwner = {
      path: this.#files.ingestPath(id),
      shared: record.expected === "" ? undefined : shared,
      make: () => this.#files.makeIngest(id),
      commit: (made) => this.#commit(namespace, ref, { id, lease, ...made }),
      release,
    };
    return new Ingest(owner, { ref, total, startedAt, updatedAt: startedAt, expected });
  }

  /** Makes content of an ingest: the file first, then its record. */
  async #commit(
    namespace: string,
    ref: string,
    made: Committed & { id: string; lease: string | undefined },
  ): Promise<ContentInfo> {
    const { id, lease, digest, isShared } = made;
    const { store, leases } = this.#parts;
    const add = () =>
      store.write(() => {
        const ingest = this.#ingests.get([namespace, ref]);
        if (ingest?.id !== id) throw new Failure("not-found", "no-ingest", { ref });
        this.#forgetIngest(namespace, ref, ingest);
        if (lease !== undefined) {
          leases.letGo(namespace, lease, { type: "ingests", id: ref });
          leases.hold(namespace, lease, { type: "content", id: digest });
        }
        return this.#records.get([namespace, digest]) === undefined ? this.#add(namespace, made) : undefined;
      });
    const record = isShared ? await add() : await this.#withFile(id, digest, add);
    await this.#removeIngestFiles({ id, expected: "", total: 0 });
    if (record === undefined) throw new Failure("already-exists", "content-exists", { digest });
    this.#tell({ topic: "/content/create", namespace, object: digest, payload: { size: record.size } });
    return infoOf(record);
  }

  /** @param add makes the record once the file has its name */
  #withFile<T>(id: string, digest: string, add: () => Promise<T>): Promise<T> {
    const isHeld = () => this.#parts.store.read(() => this.#holders.has([digest]));
    return this.#files.exclusive(digest, async () => {
      try {
        await this.#files.addBlob(id, digest, await isHeld());
        return await add();
      } catch (error) {
        if (!(await isHeld())) await this.#files.removeBlob(digest);
        throw fileFailure(this.#files.blobPath(digest), error);
      }
    });
  }

  /** Within {@link Store.write}. */
  #add(namespace: string, { digest, size, labels, lease }: Committed & { lease: string | undefined }): ContentRecord {
    const createdAt = now();
    const newSince = lease === undefined ? { newSince: createdAt } : {};
    return this.#put(namespace, { digest, size, createdAt, updatedAt: createdAt, labels, ...newSince });
  }

  /** Within {@link Store.write}. */
  #put(namespace: string, record: ContentRecord): ContentRecord {
    const { digest, size } = record;
    const kept = { ...record, labels: presentLabels(record.labels) };
    this.#records.put([namespace, digest], kept);
    this.#holders.put([digest, namespace], size);
    this.#parts.collection.made({ kind: "content", namespace, key: digest });
    this.#parts.collection.refers(referencesOf(namespace, kept.labels));
    return kept;
  }

  /** Within {@link Store.write}. @returns whether nobody has the blob any more: its file has to go once that is on the disk */
  #remove(namespace: string, digest: string): boolean {
    this.#records.remove([namespace, digest]);
    this.#holders.remove([digest, namespace]);
    return !this.#holders.has([digest]);
  }

  /** Within {@link Store.write}. */
  #forgetIngest(namespace: string, ref: string, { expected }: IngestRecord): void {
    this.#ingests.remove([namespace, ref]);
    if (expected !== "") this.#holders.remove([expected, namespace, ref]);
  }

  /** Of one that has no record any more. @returns in bytes, what that freed at most */
  async #removeIngestFiles({ id, expected, total }: Pick<IngestRecord, "id" | "expected" | "total">): Promise<number> {
    const freed = await this.#removing(this.#files.ingestPath(id), () => this.#files.removeIngest(id));
    return freed + (expected === "" ? 0 : await this.#removeBlobFile({ digest: expected, size: total }));
  }

  /** When nobody has the blob. @returns in bytes, what that freed */
  #removeBlobFile({ digest, size }: Pick<ContentInfo, "digest" | "size">): Promise<number> {
    return this.#removing(this.#files.blobPath(digest), () =>
      this.#files.exclusive(digest, async () => {
        if (await this.#parts.store.read(() => this.#holders.has([digest]))) return 0;
        await this.#files.removeBlob(digest);
        return size;
      }),
    );
  }

  /** What can't be removed is of nobody all the same: it goes at the next start. */
  async #removing(path: string, remove: () => Promise<number>): Promise<number> {
    try {
      return await remove();
    } catch (error) {
      this.#parts.log.warn({ path, error: errorText(error) }, "containerd: remove a file of content");
      return 0;
    }
  }

  /** @throws Failure (not-found) */
  #require(namespace: string, digest: string): ContentRecord {
    const record = this.#records.get([namespace, digest]);
    if (record === undefined) throw new Failure("not-found", "no-content", { digest });
    return record;
  }

  /** What is no reference is none of a record: it may be longer than a key can be. */
  #ingest(namespace: string, ref: string): IngestRecord | undefined {
    return faultOfRef(ref) === undefined ? this.#ingests.get([namespace, ref]) : undefined;
  }

  async #statusOf(namespace: string, ref: string, record: IngestRecord): Promise<IngestStatus> {
    const { id, expected, total, startedAt, usedAt } = record;
    const ingest = this.#writers.get(writerName(namespace, ref))?.ingest;
    if (ingest !== undefined) {
      const { offset, updatedAt } = ingest;
      return { ref, offset, total: ingest.total, expected: ingest.expected, startedAt, updatedAt };
    }
    if (expected !== "") return { ref, offset: total, total, expected, startedAt, updatedAt: usedAt };
    const state = await this.#files.ingestState(id);
    return { ref, offset: state?.size ?? 0, total, expected, startedAt, updatedAt: state?.modifiedAt ?? usedAt };
  }

  #contentKind(): Kind {
    const refers = (namespace: string, digest: string): Node[] =>
      referencesOf(namespace, this.#records.get([namespace, digest])?.labels ?? {});
    return {
      kind: "content",
      tidy: async () => {
        if (await this.#files.isMade()) await this.#prepared.done();
      },
      page: (after, limit, run) =>
        this.#records.page(after && [after.namespace, after.key], limit).map(({ key: [namespace], value }) => ({
          namespace: namespace!,
          key: value.digest,
          isRoot: isRootLabelled(value.labels) || (value.newSince !== undefined && isYoung(value.newSince, run)),
        })),
      references: (namespace, digest, isFlat) => (isFlat || faultOfDigest(digest) ? [] : refers(namespace, digest)),
      remove: (namespace, digest) => {
        const record = this.#records.get([namespace, digest]);
        if (record === undefined) return undefined;
        return this.#remove(namespace, digest) ? () => this.#removeBlobFile(record) : async () => 0;
      },
      isNeeded: (namespace, digest) => {
        if (faultOfDigest(digest) !== undefined) return;
        const record = this.#records.get([namespace, digest]);
        if (record?.newSince !== undefined) this.#records.put([namespace, digest], infoOf(record));
      },
    };
  }

  #ingestKind(): Kind {
    return {
      kind: "ingests",
      page: (after, limit, run) =>
        this.#ingests.page(after && [after.namespace, after.key], limit).map(({ key: [namespace, ref], value }) => ({
          namespace: namespace!,
          key: ref!,
          isRoot: this.#isWritten(namespace!, ref!) || (value.isFree && isYoung(value.usedAt, run)),
        })),
      references: () => [],
      remove: (namespace, ref) => {
        const record = this.#ingest(namespace, ref);
        if (record === undefined || this.#isWritten(namespace, ref)) return undefined;
        this.#forgetIngest(namespace, ref, record);
        return () => this.#removeIngestFiles(record);
      },
    };
  }

  #isWritten(namespace: string, ref: string): boolean {
    return this.#writers.has(writerName(namespace, ref));
  }

  #tell(event: NewEvent<ContentEvent>): void {
    this.#parts.bus.publish(event);
  }
}

function infoOf({ newSince: _, ...info }: ContentRecord): ContentInfo {
  return info;
}

function writerName(namespace: string, ref: string): string {
  return `${namespace}\0${ref}`;
}

/** @throws Failure (invalid-argument) that quotes it */
function checkRef(ref: string): void {
  const fault = faultOfRef(ref);
  if (fault !== undefined) throw refusal(`ref ${fault}`);
}

function faultOfRef(ref: string): string | undefined {
  if (ref === "") return "must not be empty";
  if (Buffer.byteLength(ref) <= MAX_REF && isPrintable(ref)) return undefined;
  return `${JSON.stringify(ref.slice(0, MAX_REF))}: it has to be printable, and of up to ${MAX_REF} bytes`;
}

async function digestOfFile(path: string, algorithm: string): Promise<string> {
  const file = await open(path, "r");
  try {
    const digester = new Digester(algorithm);
    for await (const chunk of fileChunks(file, 0, Number.POSITIVE_INFINITY)) digester.update(chunk);
    return digester.digest();
  } finally {
    await file.close();
  }
}
