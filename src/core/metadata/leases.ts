import { randomBytes } from "node:crypto";
import { now } from "../../system/linux/clock.js";
import { Failure, refusal } from "../failure/failure.js";
import { type Collection, isExpired, type Node, referencesOf } from "./collection.js";
import { isPrintable } from "./identifier.js";
import { checkKeys, type Labels, presentLabels } from "./labels.js";
import type { Namespaces } from "./namespaces.js";
import type { Store, Table } from "./store.js";

export interface LeaseRecord {
  id: string;
  labels: Labels;
  /** Nanoseconds since the epoch. */
  createdAt: bigint;
}

/** What a lease protects: content by its digest, a snapshot (`snapshots/overlayfs`) by its key, or an ingest by its reference. */
export interface Resource {
  id: string;
  type: string;
}

/** On a lease that keeps its resources alone, and nothing that their labels name. */
const FLAT = "containerd.io/gc.flat";

/** In bytes: what a key of the store has room for. */
const MAX_ID = 255;
const MAX_RESOURCE = 1024;
const DIGEST = /^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]{32,}$/;

/** Leases: who has one keeps what it has made from being collected, until something refers to that. */
export class Leases {
  readonly #store: Store;
  readonly #namespaces: Namespaces;
  readonly #collection: Collection;
  readonly #records: Table<LeaseRecord>;
  readonly #resources: Table<Resource>;
  /** Whose work is under way here: they end with it, whatever the clock says. */
  readonly #lasting = new Set<string>();

  constructor(store: Store, namespaces: Namespaces, collection: Collection) {
    this.#store = store;
    this.#collection = collection;
    this.#namespaces = namespaces;
    this.#records = store.table("leases");
    this.#resources = store.table("lease-resources");
    namespaces.onDelete((namespace) => {
      for (const { id } of this.#records.list([namespace])) this.#remove(namespace, id);
    });
    collection.register({
      kind: "leases",
      page: (after, limit) =>
        this.#records.page(after && [after.namespace, after.key], limit).map(({ key: [namespace], value }) => ({
          namespace: namespace!,
          key: value.id,
          isRoot: !this.#isOver(namespace!, value),
        })),
      references: (namespace, id) => this.#needs(namespace, id),
      remove: (namespace, id) => {
        const lease = this.#records.get([namespace, id]);
        if (lease !== undefined && this.#isOver(namespace, lease)) this.#remove(namespace, id);
        return undefined;
      },
    });
  }

  /** Those of a namespace that have not ended. */
  list(namespace: string): Promise<LeaseRecord[]> {
    return this.#store.read(() => this.#records.list([namespace]).filter((lease) => !this.#isOver(namespace, lease)));
  }

  /**
   * @param id empty: made up
   * @throws Failure: invalid-argument, already-exists
   */
  async create(namespace: string, id: string, labels: Labels): Promise<LeaseRecord> {
    const name = id === "" ? madeUp() : id;
    if (Buffer.byteLength(name) > MAX_ID || !isPrintable(name))
      throw refusal(`lease ${JSON.stringify(name.slice(0, MAX_ID))}: not of up to ${MAX_ID} bytes of printable text`);
    checkKeys(labels, "lease.Labels: ");
    return await this.#store.write(() => {
      this.#namespaces.use(namespace);
      for (const lease of this.#records.list([namespace]))
        if (this.#isOver(namespace, lease)) this.#remove(namespace, lease.id);
      if (this.#records.get([namespace, name]))
        throw new Failure("already-exists", "record-exists", { record: "lease", name });
      const lease = { id: name, labels: presentLabels(labels), createdAt: now() };
      this.#records.put([namespace, name], lease);
      return lease;
    });
  }

  /**
   * Gives it other labels; also when it has ended by those before, as one may whose owner's machine was asleep.
   * @throws Failure (not-found) when it is gone
   */
  async relabel(namespace: string, id: string, labels: Labels): Promise<void> {
    await this.#store.write(() => {
      const lease = this.#records.get([namespace, id]);
      if (lease === undefined) throw new Failure("not-found", "no-record", { record: "lease", name: id });
      this.#records.put([namespace, id], { ...lease, labels });
    });
  }

  /**
   * Keeps one from ending by its labels: somebody may set the clock while its work is under way. It is told that by them once this is over.
   * @returns ends that
   */
  keep(namespace: string, id: string): () => void {
    const key = `${namespace}/${id}`;
    this.#lasting.add(key);
    return () => this.#lasting.delete(key);
  }

  #isOver(namespace: string, { id, labels }: LeaseRecord): boolean {
    return isExpired(labels) && !this.#lasting.has(`${namespace}/${id}`);
  }

  /** @throws Failure (not-found) */
  async delete(namespace: string, id: string): Promise<void> {
    await this.#store.write(() => {
      this.#require(namespace, id);
      this.#remove(namespace, id);
    });
  }

  /** @throws Failure: not-found, invalid-argument, unimplemented */
  async addResource(namespace: string, id: string, resource: Resource): Promise<void> {
    await this.#store.write(() => {
      this.#require(namespace, id);
      checkResource(resource);
      this.hold(namespace, id, resource);
    });
  }

  /** One that the lease does not have is fine. @throws as {@link addResource} */
  async deleteResource(namespace: string, id: string, resource: Resource): Promise<void> {
    await this.#store.write(() => {
      this.#require(namespace, id);
      checkResource(resource);
      this.#resources.remove([namespace, id, resource.type, resource.id]);
    });
  }

  /** By their types, then ids. @throws Failure (not-found) */
  resources(namespace: string, id: string): Promise<Resource[]> {
    return this.#store.read(() => {
      this.#require(namespace, id);
      return this.#resources.list([namespace, id]);
    });
  }

  /**
   * Within {@link Store.write}: a call that names a lease has made, or found, what the lease protects from then on.
   * @throws Failure (not-found)
   */
  hold(namespace: string, id: string, resource: Resource): void {
    this.#require(namespace, id);
    this.#resources.put([namespace, id, resource.type, resource.id], resource);
    this.#collection.refers([nodeOf(namespace, resource)]);
  }

  /** Within {@link Store.write}: it is no more, or not by this name. */
  letGo(namespace: string, id: string, resource: Resource): void {
    this.#resources.remove([namespace, id, resource.type, resource.id]);
  }

  #require(namespace: string, id: string): void {
    const isKey = id !== "" && Buffer.byteLength(id) <= MAX_ID;
    const lease = isKey ? this.#records.get([namespace, id]) : undefined;
    if (lease === undefined || this.#isOver(namespace, lease))
      throw new Failure("not-found", "no-record", { record: "lease", name: id });
  }

  #remove(namespace: string, id: string): void {
    this.#records.remove([namespace, id]);
    const resources = this.#resources.keys([namespace, id]);
    for (const key of resources) this.#resources.remove(key);
    if (resources.length > 0) this.#collection.soon();
  }

  #needs(namespace: string, id: string): Node[] {
    const { labels = {} } = this.#records.get([namespace, id]) ?? {};
    const isFlat = Object.hasOwn(labels, FLAT);
    const held = this.#resources.list([namespace, id]).map((resource) => ({ ...nodeOf(namespace, resource), isFlat }));
    return [...held, ...referencesOf(namespace, labels)];
  }
}

/** What a lease has is named as the nodes of a collection are. */
function nodeOf(namespace: string, { type, id }: Resource): Node {
  return { kind: type, namespace, key: id };
}

/** In the form of containerd's own. */
function madeUp(): string {
  return `${now() % 1_000_000_000n}-${randomBytes(6).toString("base64url")}`;
}

function checkResource({ id, type }: Resource): void {
  const [kind, name, ...more] = type.split("/");
  if (kind !== "content" && kind !== "ingests" && kind !== "snapshots")
    throw new Failure("unimplemented", "refused", { why: `resource type ${type} not supported yet` });
  if (kind === "snapshots") {
    if (!name || more.length > 0) throw refusal(`invalid snapshot resource type ${type}`);
  } else if (name !== undefined) throw refusal(`invalid resource type ${type}`);
  if (kind === "content" && !DIGEST.test(id))
    throw refusal(`invalid content resource id ${JSON.stringify(id)}: invalid checksum digest format`);
  if (id === "" || Buffer.byteLength(`${type}${id}`) > MAX_RESOURCE || !isPrintable(`${type}${id}`))
    throw refusal(
      `invalid resource id ${JSON.stringify(id.slice(0, MAX_RESOURCE))}: it has to be printable, and not too long`,
    );
}
