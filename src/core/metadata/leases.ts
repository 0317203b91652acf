import { randomBytes } from "node:crypto";
import { parseRfc3339 } from "../../contract/go/rfc3339.js";
import { now } from "../../system/linux/clock.js";
import { Failure, refusal } from "../failure/failure.js";
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

/** The time after which a lease is none any more, as RFC 3339; what can't be read as that is no end. */
const EXPIRE = "containerd.io/gc.expire";

/** In bytes: what a key of the store has room for. */
const MAX_ID = 255;
const MAX_RESOURCE = 1024;
/** Control characters, and code points that are no characters. */
const UNPRINTABLE = /[\p{Cc}\p{Cn}\p{Cs}]/u;
const DIGEST = /^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]{32,}$/;

/** Leases: who has one keeps what it has made from being collected, until something refers to that. */
export class Leases {
  readonly #store: Store;
  readonly #namespaces: Namespaces;
  readonly #records: Table<LeaseRecord>;
  readonly #resources: Table<Resource>;

  constructor(store: Store, namespaces: Namespaces) {
    this.#store = store;
    this.#namespaces = namespaces;
    this.#records = store.table("leases");
    this.#resources = store.table("lease-resources");
    namespaces.onDelete((namespace) => {
      for (const { id } of this.#records.list([namespace])) this.#remove(namespace, id);
    });
  }

  /** Those of a namespace that have not ended. */
  list(namespace: string): Promise<LeaseRecord[]> {
    return this.#store.read(() => this.#records.list([namespace]).filter(isValid));
  }

  /**
   * @param id empty: made up
   * @throws Failure: invalid-argument, already-exists
   */
  async create(namespace: string, id: string, labels: Labels): Promise<LeaseRecord> {
    const name = id === "" ? madeUp() : id;
    if (Buffer.byteLength(name) > MAX_ID || UNPRINTABLE.test(name))
      throw refusal(`lease ${JSON.stringify(name.slice(0, MAX_ID))}: not of up to ${MAX_ID} bytes of printable text`);
    checkKeys(labels, "lease.Labels: ");
    return await this.#store.write(() => {
      this.#namespaces.use(namespace);
      for (const lease of this.#records.list([namespace])) if (!isValid(lease)) this.#remove(namespace, lease.id);
      if (this.#records.get([namespace, name]))
        throw new Failure("already-exists", "record-exists", { record: "lease", name });
      const lease = { id: name, labels: presentLabels(labels), createdAt: now() };
      this.#records.put([namespace, name], lease);
      return lease;
    });
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
      this.#resources.put([namespace, id, resource.type, resource.id], resource);
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

  #require(namespace: string, id: string): void {
    const isKey = id !== "" && Buffer.byteLength(id) <= MAX_ID;
    const lease = isKey ? this.#records.get([namespace, id]) : undefined;
    if (lease === undefined || !isValid(lease))
      throw new Failure("not-found", "no-record", { record: "lease", name: id });
  }

  #remove(namespace: string, id: string): void {
    this.#records.remove([namespace, id]);
    for (const key of this.#resources.keys([namespace, id])) this.#resources.remove(key);
  }
}

function isValid({ labels }: LeaseRecord): boolean {
  const end = labels[EXPIRE];
  if (end === undefined) return true;
  try {
    return parseRfc3339(end) > now();
  } catch {
    return true;
  }
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
  if (id === "" || Buffer.byteLength(`${type}${id}`) > MAX_RESOURCE || UNPRINTABLE.test(`${type}${id}`))
    throw refusal(
      `invalid resource id ${JSON.stringify(id.slice(0, MAX_RESOURCE))}: it has to be printable, and not too long`,
    );
}
