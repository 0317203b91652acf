import { now } from "../../system/linux/clock.js";
import { Failure, refusal } from "../failure/failure.js";
import type { MadeLayer } from "../layers/layer-file.js";
import { checkLabels, type Labels, presentLabels } from "../metadata/labels.js";
import type { Key, Store, Table } from "../metadata/store.js";
import { Slices } from "../scheduling/slices.js";
import type { SnapshotRecord } from "./snapshot-record.js";

/** In bytes: what a key of the store has room for. */
const MAX_NAME = 1024;

/** Whose a directory is. */
interface Owner {
  namespace: string;
  name: string;
  /** Id of the snapshot that it is put on. */
  parent?: number | undefined;
}

/** What a layer file is, as the store knows it; its key says the rest. */
export type LayerRecord = MadeLayer & { createdAt: bigint };

/** A change of a snapshot to a committed one. */
export type Committed = Pick<SnapshotRecord, "usage" | "hasDirectory" | "layer" | "isNew">;

const LAST = "last";

/** The records of snapshots, and how they hang together. To be used within {@link Store.read} and {@link Store.write} only. */
export class SnapshotRecords {
  readonly #records: Table<SnapshotRecord>;
  readonly #owners: Table<Owner>;
  /** By id of the parent, `live` (active ones and views) or `committed`, own id. */
  readonly #children: Table<true>;
  readonly #layers: Table<LayerRecord>;
  /** By key of the layer file, id of the snapshot. */
  readonly #layerUsers: Table<true>;
  readonly #sequence: Table<number>;

  constructor(store: Store) {
    this.#records = store.table("snapshots");
    this.#owners = store.table("snapshot-owners");
    this.#children = store.table("snapshot-children");
    this.#layers = store.table("layers");
    this.#layerUsers = store.table("layer-users");
    this.#sequence = store.table("snapshot-sequence");
  }

  /** What is no name is none of a record: it may be longer than a key can be. */
  get(namespace: string, name: string): SnapshotRecord | undefined {
    return isName(name) ? this.#records.get([namespace, name]) : undefined;
  }

  /** @throws Failure (not-found) */
  require(namespace: string, name: string): SnapshotRecord {
    const record = this.get(namespace, name);
    if (record === undefined) throw new Failure("not-found", "no-snapshot", { name });
    return record;
  }

  list(namespace: string): SnapshotRecord[] {
    return this.#records.list([namespace]);
  }

  has(namespace: string): boolean {
    return this.#records.has([namespace]);
  }

  /** The next of all namespaces in the order of namespaces and names. */
  page(after: { namespace: string; key: string } | undefined, limit: number) {
    const page = this.#records.page(after === undefined ? undefined : [after.namespace, after.key], limit);
    return page.map(({ key, value }) => ({ namespace: key[0]!, record: value }));
  }

  ownerOf(id: number): Owner | undefined {
    return this.#owners.get([`${id}`]);
  }

  /** Whose a directory is, with all that is known of it. */
  ofDirectory(id: number): SnapshotRecord | undefined {
    const owner = this.ownerOf(id);
    const record = owner && this.get(owner.namespace, owner.name);
    return record?.id === id ? record : undefined;
  }

  /** A committed snapshot and those that it is put on, the topmost first. */
  chain(namespace: string, name: string): SnapshotRecord[] {
    const chain: SnapshotRecord[] = [];
    for (let next = name; next !== ""; next = chain.at(-1)!.parent) chain.push(this.require(namespace, next));
    return chain;
  }

  isParent({ id }: SnapshotRecord): boolean {
    return this.#children.has([`${id}`]);
  }

  hasLiveChild(id: number): boolean {
    return this.#children.has([`${id}`, "live"]);
  }

  committedChildren(id: number): number[] {
    return this.#children.keys([`${id}`, "committed"]).map((key) => Number(key[2]));
  }

  /** Calls `found` with the ids of those that an active one or a view is put on, directly or not. */
  async inUse(store: Store, found: (id: number) => void): Promise<void> {
    const slices = new Slices();
    const seen = new Set<number>();
    for (let after: Key | undefined; ; ) {
      const page = await store.read(() => this.#children.page(after, PAGE));
      for (const { key } of page) {
        if (key[1] !== "live") continue;
        let id: number | undefined = Number(key[0]);
        while (id !== undefined && !seen.has(id)) {
          seen.add(id);
          found(id);
          id = this.ownerOf(id)?.parent;
        }
        await slices.next();
      }
      after = page.at(-1)?.key;
      if (after === undefined) return;
    }
  }

  /** Has no new one get an id up to this: a directory of it is there. Within {@link Store.write}. */
  reserve(id: number): void {
    if (id > (this.#sequence.get([LAST]) ?? 0)) this.#sequence.put([LAST], id);
  }

  /** A new one. @throws Failure: invalid-argument, already-exists, not-found */
  create(
    namespace: string,
    wanted: Pick<SnapshotRecord, "name" | "parent" | "kind" | "labels">,
    rest: Partial<SnapshotRecord> = {},
  ): SnapshotRecord {
    const { name, parent } = wanted;
    checkName(name);
    checkLabels(wanted.labels, "info.Labels: ");
    if (this.get(namespace, name)) throw new Failure("already-exists", "snapshot-exists", { name });
    const below = parent === "" ? undefined : this.get(namespace, parent);
    if (parent !== "" && below === undefined) throw new Failure("not-found", "no-parent-snapshot", { name: parent });
    if (below !== undefined && below.kind !== "committed")
      throw refusal(`parent ${JSON.stringify(parent)} is not committed snapshot`);
    const id = (this.#sequence.get([LAST]) ?? 0) + 1;
    this.#sequence.put([LAST], id);
    const createdAt = now();
    const record = { ...wanted, ...rest, labels: presentLabels(wanted.labels), id, createdAt, updatedAt: createdAt };
    this.#put(namespace, record);
    this.#owners.put([`${id}`], { namespace, name, parent: below?.id });
    if (below !== undefined) this.#children.put(childKey(below.id, record), true);
    if (record.layer !== undefined) this.#useLayer(record.layer, id);
    return record;
  }

  /**
   * Makes an active one a committed one of another name.
   * @throws Failure: not-found, already-exists, invalid-argument, failed-precondition
   */
  commit(namespace: string, name: string, key: string, labels: Labels, what: Committed): SnapshotRecord {
    checkName(name);
    checkLabels(labels, "info.Labels: ");
    const before = this.requireActive(namespace, key, name);
    const createdAt = now();
    const record: SnapshotRecord = {
      ...before,
      ...what,
      ...{ name, kind: "committed", labels: presentLabels(labels), createdAt, updatedAt: createdAt },
    };
    const owner = this.ownerOf(before.id)!;
    this.#records.remove([namespace, key]);
    this.#put(namespace, record);
    this.#owners.put([`${record.id}`], { ...owner, name });
    if (owner.parent !== undefined) {
      this.#children.remove(childKey(owner.parent, before));
      this.#children.put(childKey(owner.parent, record), true);
    }
    return record;
  }

  /** One that can be committed as `name`. @throws as {@link commit} */
  requireActive(namespace: string, key: string, name: string): SnapshotRecord {
    if (this.get(namespace, name)) throw new Failure("already-exists", "snapshot-exists", { name });
    const record = this.require(namespace, key);
    if (record.kind !== "active") throw new Failure("failed-precondition", "snapshot-not-active", { name: key });
    return record;
  }

  /** Has an active one have a layer file. @throws Failure (not-found) for a layer file that is not there (any more) */
  setLayer(namespace: string, record: SnapshotRecord, layer: string): void {
    this.#useLayer(layer, record.id);
    this.#put(namespace, { ...record, layer, updatedAt: now() });
  }

  /** Something needs a committed one. */
  setNeeded(namespace: string, name: string): void {
    const { isNew, ...record } = this.get(namespace, name) ?? {};
    if (isNew) this.#put(namespace, record as SnapshotRecord);
  }

  update(namespace: string, name: string, change: (before: Labels) => Labels): SnapshotRecord {
    const before = this.require(namespace, name);
    const labels = change(before.labels);
    checkLabels(labels, "info.Labels: ");
    const record = { ...before, labels: presentLabels(labels), updatedAt: now() };
    this.#put(namespace, record);
    return record;
  }

  /**
   * @returns the key of its layer file when nothing else uses that: its record is gone, the file has to go
   * @throws Failure: not-found, failed-precondition
   */
  remove(namespace: string, name: string): { record: SnapshotRecord; parent: number | undefined; layer?: string } {
    const record = this.require(namespace, name);
    if (this.isParent(record)) throw new Failure("failed-precondition", "snapshot-has-children", { name });
    const { id, layer } = record;
    const parent = this.ownerOf(id)?.parent;
    this.#records.remove([namespace, name]);
    this.#owners.remove([`${id}`]);
    if (parent !== undefined) this.#children.remove(childKey(parent, record));
    if (layer === undefined) return { record, parent };
    this.#layerUsers.remove([layer, `${id}`]);
    if (this.#layerUsers.has([layer])) return { record, parent };
    this.#layers.remove([layer]);
    return { record, parent, layer };
  }

  /** What does not fit to the record of a snapshot, a few words each. */
  faultsOf(namespace: string, record: SnapshotRecord): string[] {
    const { id, name, parent, layer } = record;
    const owner = this.ownerOf(id);
    if (owner?.namespace !== namespace || owner.name !== name)
      return [`its directory ${id} is another one's, or nobody's`];
    const faults: string[] = [];
    const below = parent === "" ? undefined : this.get(namespace, parent);
    if (parent !== "" && below?.kind !== "committed")
      faults.push(`it is put on ${JSON.stringify(parent)}, which is ${below?.kind ?? "not there"}`);
    else if (owner.parent !== below?.id)
      faults.push(`it is put on ${below?.id}, and by its directory on ${owner.parent}`);
    if (below !== undefined && !this.#children.has(childKey(below.id, record)))
      faults.push(`${JSON.stringify(parent)} may be removed, though this is put on it`);
    if (layer !== undefined && !this.#layerUsers.has([layer, `${id}`]))
      faults.push(`layer ${layer} may be removed, though this uses it`);
    return faults;
  }

  /** What keeps something for a snapshot that is not there (any more), or does not need it, a sentence each. */
  async *strays(store: Store): AsyncGenerator<string> {
    const stray = (id: string | undefined, needs: (record: SnapshotRecord) => boolean) => {
      const record = this.ofDirectory(Number(id));
      return record === undefined || !needs(record);
    };
    for await (const [id] of keysOf(this.#owners, store))
      if (await store.read(() => stray(id, () => true))) yield `directory ${id}: kept for a snapshot that is not there`;
    for await (const [parent, , id] of keysOf(this.#children, store)) {
      const isParent = ({ parent: name }: SnapshotRecord) =>
        name !== "" && this.ownerOf(Number(id))?.parent === Number(parent);
      if (await store.read(() => stray(id, isParent)))
        yield `directory ${parent}: kept for ${id}, which is not put on it`;
    }
    for await (const [key, id] of keysOf(this.#layerUsers, store))
      if (await store.read(() => stray(id, ({ layer }) => layer === key)))
        yield `layer ${key}: kept for ${id}, which does not use it`;
  }

  layer(key: string): LayerRecord | undefined {
    return this.#layers.get([key]);
  }

  layersPage(after: string | undefined, limit: number): { key: string; record: LayerRecord }[] {
    const page = this.#layers.page(after === undefined ? undefined : [after], limit);
    return page.map(({ key, value }) => ({ key: key[0]!, record: value }));
  }

  isLayerUsed(key: string): boolean {
    return this.#layerUsers.has([key]);
  }

  addLayer(key: string, { diffId, size, unpacked }: MadeLayer): void {
    this.#layers.put([key], { diffId, size, unpacked, createdAt: now() });
  }

  /** Whether it was there and is gone now: it stays while a snapshot uses it. */
  removeLayer(key: string): boolean {
    if (this.layer(key) === undefined || this.isLayerUsed(key)) return false;
    this.#layers.remove([key]);
    return true;
  }

  #useLayer(key: string, id: number): void {
    if (this.layer(key) === undefined) throw new Failure("not-found", "no-layer-file", { key });
    this.#layerUsers.put([key, `${id}`], true);
  }

  #put(namespace: string, record: SnapshotRecord): void {
    this.#records.put([namespace, record.name], record);
  }
}

/** So many records are looked at before others get their turn. */
const PAGE = 200;

/** All keys of a table, a few at a time: what is changed meanwhile may be missing, or be among them. */
async function* keysOf<T>(table: Table<T>, store: Store): AsyncGenerator<Key> {
  const slices = new Slices();
  for (let after: Key | undefined; ; await slices.next()) {
    const page = await store.read(() => table.page(after, PAGE));
    for (const { key } of page) yield key;
    after = page.at(-1)?.key;
    if (after === undefined) return;
  }
}

function childKey(parent: number, { id, kind }: SnapshotRecord): string[] {
  return [`${parent}`, kind === "committed" ? "committed" : "live", `${id}`];
}

function isName(name: string): boolean {
  return name !== "" && Buffer.byteLength(name) <= MAX_NAME;
}

/** @throws Failure (invalid-argument) */
function checkName(name: string): void {
  if (isName(name)) return;
  if (name === "") throw refusal("snapshot key must not be empty");
  throw refusal(`snapshot key ${JSON.stringify(name.slice(0, MAX_NAME))}…: more than ${MAX_NAME} bytes`);
}
