import { now } from "../../system/linux/clock.js";
import { faultOfDigest } from "../content/digest.js";
import type { NewEvent } from "../events/event.js";
import type { EventBus } from "../events/event-bus.js";
import { Failure, refusal } from "../failure/failure.js";
import { type Collection, isExpired, type Kind, type Node, referencesOf } from "../metadata/collection.js";
import { isPrintable } from "../metadata/identifier.js";
import { checkKeys, checkLabels, type Labels, presentLabels } from "../metadata/labels.js";
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
    parts.collection.register(this.#kind());
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

  #kind(): Kind {
    const find = (namespace: string, name: string) => (isName(name) ? this.#records.get([namespace, name]) : undefined);
    return {
      kind: "images",
      page: (after, limit) =>
        this.#records.page(after && [after.namespace, after.key], limit).map(({ key: [namespace], value }) => ({
          namespace: namespace!,
          key: value.name,
          isRoot: !isExpired(value.labels),
        })),
      references: (namespace, name) => {
        const record = find(namespace, name);
        return record === undefined ? [] : needs(namespace, record);
      },
      remove: (namespace, name) => {
        const record = find(namespace, name);
        if (record === undefined || !isExpired(record.labels)) return undefined;
        this.#records.remove([namespace, name]);
        return async () => {
          this.#tell({ topic: "/images/delete", namespace, object: name, payload: {} });
          return 0;
        };
      },
    };
  }

  #tell(event: NewEvent<ImageEvent>): void {
    this.#parts.bus.publish(event);
  }

  #require(namespace: string, name: string): ImageRecord {
    const record = isName(name) ? this.#records.get([namespace, name]) : undefined;
    if (record === undefined) throw new Failure("not-found", "no-record", { record: "image", name });
    return record;
  }

  #put(namespace: string, record: ImageRecord): ImageRecord {
    const kept = { ...record, labels: presentLabels(record.labels) };
    this.#records.put([namespace, record.name], kept);
    this.#parts.collection.made({ kind: "images", namespace, key: record.name });
    this.#parts.collection.refers(needs(namespace, kept));
    return kept;
  }
}

function isName(name: string): boolean {
  return name !== "" && Buffer.byteLength(name) <= MAX_NAME && isPrintable(name);
}

function needs(namespace: string, { target, labels }: ImageRecord): Node[] {
  return [{ kind: "content", namespace, key: target.digest }, ...referencesOf(namespace, labels)];
}

/** @throws Failure (invalid-argument) for what can't be an image */
function check({ name, labels, target }: Omit<ImageRecord, "createdAt" | "updatedAt">): void {
  if (name === "") throw refusal("image name must not be empty");
  if (!isName(name))
    throw refusal(
      `image name ${JSON.stringify(name.slice(0, MAX_NAME))}: it has to be printable, and of up to ${MAX_NAME} bytes`,
    );
  checkLabels(labels, "image.Labels: ");
  checkKeys(target.annotations, "Target.Annotations: ");
  const fault = faultOfDigest(target.digest);
  if (fault !== undefined)
    throw refusal(`Target.Digest ${JSON.stringify(target.digest.slice(0, MAX_NAME))} invalid: ${fault}`);
  if (target.size <= 0) throw refusal("Target.Size must be greater than zero");
  if (target.mediaType === "") throw refusal("Target.MediaType must be set");
}
