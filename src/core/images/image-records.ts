import { now } from "../../system/linux/clock.js";
import type { NewEvent } from "../events/event.js";
import type { EventBus } from "../events/event-bus.js";
import { Failure, refusal } from "../failure/failure.js";
import { type Collection, type Node, referencesOf } from "../metadata/collection.js";
import { checkLabels, type Labels, presentLabels } from "../metadata/labels.js";
import type { Namespaces } from "../metadata/namespaces.js";
import type { Store, Table } from "../metadata/store.js";
import type { ImageEvent } from "./image-event.js";

/** What a piece of content is. */
export interface Descriptor {
  mediaType: string;
  digest: string;
  /** In bytes. */
  size: number;
  annotations: Readonly<Record<string, string>>;
}

/** A name for content, and all that it needs. */
export interface ImageRecord {
  name: string;
  labels: Labels;
  target: Descriptor;
  /** Nanoseconds since the epoch. */
  createdAt: bigint;
  updatedAt: bigint;
}

export interface ImageParts {
  store: Store;
  namespaces: Namespaces;
  collection: Collection;
  bus: EventBus;
}

/** In bytes: what a key of the store has room for. */
const MAX_NAME = 1024;

/** The records of images, by namespace and name. */
export class Images {
  readonly #parts: ImageParts;
  readonly #records: Table<ImageRecord>;

  constructor(parts: ImageParts) {
    this.#parts = parts;
    this.#records = parts.store.table("images");
    parts.namespaces.contain({ name: "images", isIn: (namespace) => this.#records.has([namespace]) });
  }

  /** @throws Failure (not-found) */
  get(namespace: string, name: string): Promise<ImageRecord> {
    return this.#parts.store.read(() => this.#require(namespace, name));
  }

  /** Those of a namespace, by their names. */
  list(namespace: string): Promise<ImageRecord[]> {
    return this.#parts.store.read(() => this.#records.list([namespace]));
  }

  /** @throws Failure: invalid-argument, already-exists */
  async create(namespace: string, wanted: Omit<ImageRecord, "createdAt" | "updatedAt">): Promise<ImageRecord> {
    check(wanted);
    const { name } = wanted;
    const record = await this.#parts.store.write(() => {
      this.#parts.namespaces.use(namespace);
      if (this.#records.get([namespace, name]))
        throw new Failure("already-exists", "record-exists", { record: "image", name });
      const createdAt = now();
      return this.#put(namespace, { ...wanted, createdAt, updatedAt: createdAt });
    });
    this.#tell({ topic: "/images/create", namespace, object: name, payload: { labels: record.labels } });
    return record;
  }

  /**
   * @param change makes the new record of the one before; name and times are not its business
   * @throws Failure: not-found, invalid-argument; what `change` does
   */
  async update(
    namespace: string,
    name: string,
    change: (before: ImageRecord) => Omit<ImageRecord, "createdAt" | "updatedAt">,
  ): Promise<ImageRecord> {
    const record = await this.#parts.store.write(() => {
      const before = this.#require(namespace, name);
      const after = { ...change(before), name, createdAt: before.createdAt, updatedAt: now() };
      check(after);
      return this.#put(namespace, after);
    });
    this.#tell({ topic: "/images/update", namespace, object: name, payload: { labels: record.labels } });
    return record;
  }

  /**
   * What it alone has kept goes soon after.
   * @param isAsExpected refuses to delete what has become another one
   * @throws Failure (not-found); what `isAsExpected` does
   */
  async delete(namespace: string, name: string, isAsExpected?: (record: ImageRecord) => void): Promise<void> {
    await this.#parts.store.write(() => {
      isAsExpected?.(this.#require(namespace, name));
      this.#require(namespace, name);
      this.#records.remove([namespace, name]);
    });
    this.#tell({ topic: "/images/delete", namespace, object: name, payload: {} });
    this.#parts.collection.soon();
  }

  #tell(event: NewEvent<ImageEvent>): void {
    this.#parts.bus.publish(event);
  }

  #require(namespace: string, name: string): ImageRecord {
    const isKey = name !== "" && Buffer.byteLength(name) <= MAX_NAME;
    const record = isKey ? this.#records.get([namespace, name]) : undefined;
    if (record === undefined) throw new Failure("not-found", "no-record", { record: "image", name });
    return record;
  }

  #put(namespace: string, record: ImageRecord): ImageRecord {
    const kept = { ...record, labels: presentLabels(record.labels) };
    this.#records.put([namespace, record.name], kept);
    this.#parts.collection.refers(needs(namespace, kept));
    return kept;
  }
}

function needs(namespace: string, { target, labels }: ImageRecord): Node[] {
  return [{ kind: "content", namespace, key: target.digest }, ...referencesOf(namespace, labels)];
}

/** @throws Failure (invalid-argument) for what can't be an image */
function check({ name, labels }: Omit<ImageRecord, "createdAt" | "updatedAt">): void {
  if (name === "") throw refusal("image name must not be empty");
  if (Buffer.byteLength(name) > MAX_NAME)
    throw refusal(`image name ${JSON.stringify(name.slice(0, MAX_NAME))}…: more than ${MAX_NAME} bytes`);
  checkLabels(labels, "image.Labels: ");
}
