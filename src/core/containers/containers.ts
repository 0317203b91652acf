import { now } from "../../system/linux/clock.js";
import type { NewEvent } from "../events/event.js";
import type { EventBus } from "../events/event-bus.js";
import { Failure, refusal } from "../failure/failure.js";
import { type Collection, type Node, referencesOf } from "../metadata/collection.js";
import { checkIdentifier, isIdentifier } from "../metadata/identifier.js";
import { checkKeys, checkLabels, presentLabels } from "../metadata/labels.js";
import { SPECS_TABLE } from "../metadata/migrations.js";
import type { Namespaces } from "../metadata/namespaces.js";
import type { Key, Store, Table } from "../metadata/store.js";
import type { ContainerEvent } from "./container-event.js";
import type { Any, ContainerRecord } from "./container-record.js";

/** How many records that were read last are kept in memory: a client asks for the same one before most of what it does with a task. */
const RECENT = 16;
/** How many records are read before others get their turn. */
const PAGE = 100;

/** A record without its specification, which is larger than all else, and which most who look at a record do not want. */
export type BriefRecord = Omit<ContainerRecord, "spec">;

/** The records of containers, by namespace and id. */
export class Containers {
  readonly #store: Store;
  readonly #namespaces: Namespaces;
  readonly #collection: Collection;
  readonly #records: Table<BriefRecord>;
  /** What belongs to {@link #records}, by the same keys. */
  readonly #specs: Table<Any>;
  readonly #bus: EventBus;
  /** Those that were read last, the oldest first. */
  readonly #recent = new Map<string, ContainerRecord>();

  constructor(store: Store, namespaces: Namespaces, collection: Collection, bus: EventBus) {
    this.#bus = bus;
    this.#collection = collection;
    this.#store = store;
    this.#namespaces = namespaces;
    this.#records = store.table("containers");
    this.#specs = store.table(SPECS_TABLE);
    namespaces.contain({ name: "containers", isIn: (namespace) => this.#records.has([namespace]) });
    collection.register({
      kind: "containers",
      page: (after, limit) =>
        this.#records
          .page(after && [after.namespace, after.key], limit)
          .map(({ key: [namespace], value }) => ({ namespace: namespace!, key: value.id, isRoot: true })),
      references: (namespace, id) => {
        const record = this.#brief(namespace, id);
        return record === undefined ? [] : needs(namespace, record);
      },
    });
  }

  /**
   * To be looked at only: the next caller gets the same object.
   * @throws Failure (not-found)
   */
  get(namespace: string, id: string): Promise<Readonly<ContainerRecord>> {
    return this.#store.read(() => {
      const key = recentKey(namespace, id);
      const record = this.#recent.get(key) ?? this.#record(namespace, id);
      if (record === undefined) throw notFound(namespace, id);
      this.#recent.delete(key);
      this.#recent.set(key, record);
      const [oldest] = this.#recent.keys();
      if (this.#recent.size > RECENT) this.#recent.delete(oldest!);
      return record;
    });
  }

  /** As {@link get}, without the specification. */
  getBrief(namespace: string, id: string): Promise<Readonly<BriefRecord>> {
    return this.#store.read(() => {
      const record = this.#recent.get(recentKey(namespace, id)) ?? this.#brief(namespace, id);
      if (record === undefined) throw notFound(namespace, id);
      return record;
    });
  }

  /** Changes the record of a container. Who reads it meanwhile gets the one before, which nobody gets any more once this is done. */
  async #change<T>(namespace: string, id: string, work: () => T): Promise<T> {
    try {
      return await this.#store.write(work);
    } finally {
      this.#recent.delete(recentKey(namespace, id));
    }
  }

  /** Those of a namespace, by their ids. */
  list(namespace: string): Promise<ContainerRecord[]> {
    return this.#store.read(() => this.#records.list([namespace]).map((record) => this.#whole(namespace, record)));
  }

  /** Those of all namespaces, with theirs. */
  async *all(): AsyncGenerator<{ namespace: string; record: BriefRecord }> {
    for (let after: Key | undefined; ; ) {
      const page = await this.#store.read(() => this.#records.page(after, PAGE));
      after = page.at(-1)?.key;
      if (after === undefined) return;
      for (const { key, value } of page) yield { namespace: key[0]!, record: value };
    }
  }

  /** @throws Failure: invalid-argument, already-exists */
  async create(namespace: string, wanted: Omit<ContainerRecord, "createdAt" | "updatedAt">): Promise<ContainerRecord> {
    check(wanted, "create container failed validation");
    const { id } = wanted;
    const record = await this.#change(namespace, id, () => {
      this.#namespaces.use(namespace);
      if (this.#brief(namespace, id))
        throw new Failure("already-exists", "record-exists", { record: "container", name: id });
      const createdAt = now();
      return this.#put(namespace, { ...wanted, createdAt, updatedAt: createdAt });
    });
    const { image, runtime } = record;
    this.#tell({ topic: "/containers/create", namespace, object: id, payload: { image, runtime } });
    return record;
  }

  /**
   * @param change makes the new record of the one before; id and times are not its business
   * @throws Failure: not-found, invalid-argument; what `change` does
   */
  async update(
    namespace: string,
    id: string,
    change: (before: ContainerRecord) => ContainerRecord,
  ): Promise<ContainerRecord> {
    return await this.#update(namespace, id, () => {
      const before = this.#record(namespace, id);
      if (before === undefined) throw notFound(namespace, id, "update");
      const after = { ...change(before), id, createdAt: before.createdAt, updatedAt: now() };
      check(after, "update failed validation");
      return this.#put(namespace, after);
    });
  }

  /** As {@link update}, of all but the specification. */
  async updateBrief(namespace: string, id: string, change: (before: BriefRecord) => BriefRecord): Promise<BriefRecord> {
    return await this.#update(namespace, id, () => this.#changeBrief(namespace, id, change));
  }

  /** As {@link updateBrief}, of two in one change. */
  async updateTwo(
    namespace: string,
    [one, changeOne]: [id: string, change: (before: BriefRecord) => BriefRecord],
    [other, changeOther]: [id: string, change: (before: BriefRecord) => BriefRecord],
  ): Promise<void> {
    let first: BriefRecord | undefined;
    await this.#update(namespace, other, () => {
      first = this.#changeBrief(namespace, one, changeOne);
      return this.#changeBrief(namespace, other, changeOther);
    }).finally(() => this.#recent.delete(recentKey(namespace, one)));
    this.#tellUpdate(namespace, first!);
  }

  #changeBrief(namespace: string, id: string, change: (before: BriefRecord) => BriefRecord): BriefRecord {
    const before = this.#brief(namespace, id);
    if (before === undefined) throw notFound(namespace, id, "update");
    const after = { ...change(before), id, createdAt: before.createdAt, updatedAt: now() };
    checkBrief(after, "update failed validation");
    return this.#putBrief(namespace, after);
  }

  async #update<R extends BriefRecord>(namespace: string, id: string, work: () => R): Promise<R> {
    const record = await this.#change(namespace, id, work);
    this.#tellUpdate(namespace, record);
    return record;
  }

  #tellUpdate(namespace: string, { id, image, labels, snapshotKey }: BriefRecord): void {
    this.#tell({ topic: "/containers/update", namespace, object: id, payload: { image, labels, snapshotKey } });
  }

  /**
   * @param isAsExpected refuses to delete what it must not
   * @throws Failure (not-found); what `isAsExpected` does
   */
  async delete(namespace: string, id: string, isAsExpected?: (record: BriefRecord) => void): Promise<void> {
    const before = await this.#change(namespace, id, () => {
      const record = this.#brief(namespace, id);
      if (record === undefined) throw notFound(namespace, id, "delete");
      isAsExpected?.(record);
      this.#records.remove([namespace, id]);
      this.#specs.remove([namespace, id]);
      return record;
    });
    if (needs(namespace, before).length > 0) this.#collection.soon();
    this.#tell({ topic: "/containers/delete", namespace, object: id, payload: {} });
  }

  #tell(event: NewEvent<ContainerEvent>): void {
    this.#bus.publish(event);
  }

  #record(namespace: string, id: string): ContainerRecord | undefined {
    const record = this.#brief(namespace, id);
    return record && this.#whole(namespace, record);
  }

  #whole(namespace: string, record: BriefRecord): ContainerRecord {
    const spec = this.#specs.get([namespace, record.id]);
    return { ...record, ...(spec && { spec }) };
  }

  /** What is no id is none of a record: it may be longer than a key can be. */
  #brief(namespace: string, id: string): BriefRecord | undefined {
    return isIdentifier(id) ? this.#records.get([namespace, id]) : undefined;
  }

  #put(namespace: string, { spec, ...record }: ContainerRecord): ContainerRecord {
    if (spec !== undefined) this.#specs.put([namespace, record.id], spec);
    return { ...this.#putBrief(namespace, record), ...(spec && { spec }) };
  }

  #putBrief(namespace: string, record: BriefRecord): BriefRecord {
    const kept = { ...record, labels: presentLabels(record.labels) };
    this.#records.put([namespace, record.id], kept);
    this.#collection.refers(needs(namespace, kept));
    return kept;
  }
}

/** Neither part can have a slash in it when there is such a record. */
const recentKey = (namespace: string, id: string) => `${namespace}/${id}`;

/** What has to stay for as long as there is such a container. */
function needs(namespace: string, { image, snapshotter, snapshotKey, labels }: BriefRecord): Node[] {
  const nodes = referencesOf(namespace, labels);
  if (image !== "") nodes.push({ kind: "images", namespace, key: image });
  if (snapshotKey !== "") nodes.push({ kind: `snapshots/${snapshotter}`, namespace, key: snapshotKey });
  return nodes;
}

/**
 * @param doing begins the error's text
 * @throws Failure (invalid-argument) for what can't be a container
 */
function check(record: Omit<ContainerRecord, "createdAt" | "updatedAt">, doing: string): void {
  checkBrief(record, doing);
  if (record.spec === undefined) throw refusal(`${doing}: container.Spec must be set`);
}

function checkBrief(record: Omit<BriefRecord, "createdAt" | "updatedAt">, doing: string): void {
  const refuse = (why: string): never => {
    throw refusal(`${doing}: ${why}`);
  };
  checkIdentifier(record.id, `${doing}: container.ID: `);
  if ("" in record.extensions) refuse("container.Extension keys must not be zero-length");
  checkKeys(record.extensions, `${doing}: container.Extensions: `);
  checkLabels(record.labels, `${doing}: containers.Labels: `);
  if (record.runtime.name === "") refuse("container.Runtime.Name must be set");
  if (record.snapshotKey !== "" && record.snapshotter === "")
    refuse("container.Snapshotter must be set if container.SnapshotKey is set");
}

function notFound(namespace: string, id: string, change?: "update" | "delete"): Failure {
  return new Failure("not-found", "no-record", { record: "container", name: id, namespace, change });
}
