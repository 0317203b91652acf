import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Logger } from "pino";
import { type DiskUsage, diskUsage } from "../../system/linux/disk-usage.js";
import { errorText } from "../../system/linux/libc.js";
import { removeTree } from "../../system/linux/remove-tree.js";
import type { ErofsWay } from "../../system/mount/erofs.js";
import { unmountNow } from "../../system/mount/kernel-mount.js";
import { type Mount, mount } from "../../system/mount/mount.js";
import { bindMount, directoriesOf, overlayMount } from "../../system/mount/overlay.js";
import type { NewEvent } from "../events/event.js";
import type { EventBus } from "../events/event-bus.js";
import { Failure } from "../failure/failure.js";
import { outsideOf } from "../files/file-owners.js";
import type { LayerFile } from "../layers/layer-file.js";
import {
  type Collection,
  isRootLabelled,
  isYoung,
  type Kind,
  type Node,
  referencesOf,
} from "../metadata/collection.js";
import type { Labels } from "../metadata/labels.js";
import type { Leases } from "../metadata/leases.js";
import type { Namespaces } from "../metadata/namespaces.js";
import type { Store } from "../metadata/store.js";
import { FirstUse } from "../scheduling/first-use.js";
import { type IdMapping, idMappingOf } from "./id-mapping.js";
import { LayerFiles } from "./layer-files.js";
import { LayerMounts } from "./layer-mounts.js";
import { type RootOwner, SnapshotDirectories } from "./snapshot-directories.js";
import type { SnapshotEvent } from "./snapshot-event.js";
import type { SnapshotRecord, SnapshotUsage } from "./snapshot-record.js";
import { SnapshotRecords } from "./snapshot-records.js";
import { UserNamespaces } from "./user-namespaces.js";

/** The name that clients know these snapshots by. */
export const SNAPSHOTTER = "overlayfs";

/** As leases and labels name them. */
const KIND = `snapshots/${SNAPSHOTTER}`;
const LAYERS = "layers";

/** How other snapshotters are asked to limit what is written to a snapshot (overlaybd's, and those with quota). */
const QUOTA_LABEL = "containerd.io/snapshot/disk_quota";

/** How the keys begin of those that clients put a layer into. Who has died over that has a lease for it, or will not come back. */
const UNPACKING = "extract-";

export interface SnapshotsParts {
  store: Store;
  namespaces: Namespaces;
  leases: Leases;
  collection: Collection;
  bus: EventBus;
  log: Logger;
  /** `--root`; what is below it is made when it is needed. */
  root: string;
  /** How layer files are mounted; as the kernel can unless it is given. */
  erofsWay?: ErofsWay;
}

/** Layers that stay mounted until they are released. */
export interface HeldLayers {
  /**
   * Where they are, the topmost first; one that somebody has unmounted is mounted again. @throws Failure: not-found, failed-precondition
   */
  directories(): Promise<string[]>;
  release(): Promise<void>;
}

type Wanted = Pick<SnapshotRecord, "name" | "parent" | "kind" | "labels">;

/** In characters: how much of mounts an error quotes. */
const MAX_SHOWN = 500;

const ROOT: RootOwner = { uid: 0, gid: 0 };

const CHECKED_AT_A_TIME = 100;

/** In ms: how long overlayfs may take to mount a look at a snapshot. */
const MOUNT_TIMEOUT = 10_000;

/**
 * Snapshots: file trees that are put on each other, stacked by overlayfs. A committed one is a directory, a layer file, or both (a
 * directory on a layer file).
 */
export class Snapshots {
  readonly layers: LayerFiles;
  readonly #parts: SnapshotsParts;
  readonly #records: SnapshotRecords;
  readonly #directories: SnapshotDirectories;
  readonly #mounts: LayerMounts;
  readonly #removals = new Set<Promise<number>>();
  readonly userNamespaces = new UserNamespaces();
  readonly #opening = new FirstUse(() => this.#openNow());

  constructor(parts: SnapshotsParts) {
    const { store, root, namespaces, collection } = parts;
    this.#parts = parts;
    this.#records = new SnapshotRecords(store);
    this.layers = new LayerFiles(join(root, "layers"), store, this.#records);
    this.#directories = new SnapshotDirectories(join(root, "snapshots"));
    this.#mounts = new LayerMounts(store, this.#records, this.#directories, this.layers, parts.erofsWay);
    collection.register(this.#snapshotKind());
    collection.register(this.#layerKind());
    namespaces.contain({ name: "snapshots", isIn: (namespace) => this.#records.has(namespace) });
  }

  /**
   * @param filled of {@link makeFilling}: what is in it, which is moved
   * @throws Failure: not-found, already-exists, invalid-argument, failed-precondition where there can be none
   */
  async prepare(
    namespace: string,
    key: string,
    parent: string,
    labels: Labels,
    { lease, filled }: { lease?: string | undefined; filled?: string | undefined } = {},
  ): Promise<Mount[]> {
    const mounts = await this.#create(namespace, { name: key, parent, kind: "active", labels }, lease, filled);
    this.#tell({ topic: "/snapshot/prepare", namespace, object: key, payload: { parent } });
    return mounts;
  }

  /** A directory to be filled with what an active one is to begin with; one that is left goes with this daemon. @throws Failure */
  async makeFilling(): Promise<string> {
    await this.#open();
    return this.#directories.makeFilling();
  }

  /** Removes one of {@link makeFilling}, unless it is a snapshot's by now. Never rejects. */
  async removeFilling(directory: string): Promise<void> {
    if (existsSync(directory))
      await this.#track(
        removeTree(directory).then(() => 0),
        { directory },
      );
  }

  /** As {@link prepare}, to be looked at only. */
  view(namespace: string, key: string, parent: string, labels: Labels, lease?: string): Promise<Mount[]> {
    return this.#create(namespace, { name: key, parent, kind: "view", labels }, lease);
  }

  /** Of an active one, or a view: what clients mount themselves. @throws Failure: not-found, failed-precondition */
  async mounts(namespace: string, key: string): Promise<Mount[]> {
    await this.#open();
    const record = await this.stat(namespace, key);
    if (record.parent === "") return await this.#mountsOn([], namespace, record);
    return await this.#holding(namespace, record.parent, async (chain) =>
      this.#mountsOn(await this.#mounts.use(chain), namespace, record),
    );
  }

  /**
   * Has an active one of nothing put on a directory of the host, whose files belong to the ids that its labels say.
   * @param directory is there, and answers
   * @throws Failure: not-found, failed-precondition
   */
  async mountsOver(namespace: string, key: string, directory: string): Promise<Mount[]> {
    await this.#open();
    return await this.#mountsOn([directory], namespace, await this.stat(namespace, key));
  }

  /** @throws Failure: not-found, already-exists, invalid-argument, failed-precondition */
  async commit(namespace: string, name: string, key: string, labels: Labels, lease?: string): Promise<void> {
    await this.#open();
    const { leases } = this.#parts;
    const before = await this.#read(() => this.#records.requireActive(namespace, key, name));
    const what = await this.#contentOf(before);
    const record = await this.#write(() => {
      if (this.#still(namespace, before).layer !== before.layer)
        throw new Failure("unavailable", "refused", { why: `snapshot ${key} has got a layer meanwhile` });
      const isNew = lease === undefined ? { isNew: true as const } : {};
      const record = this.#records.commit(namespace, name, key, labels, { ...what, ...isNew });
      if (lease !== undefined) leases.letGo(namespace, lease, { type: KIND, id: key });
      this.#made(namespace, record, lease);
      return record;
    });
    await this.#mounts.trim(record.id);
    this.#tell({ topic: "/snapshot/commit", namespace, object: key, payload: { name } });
  }

  /** Resolves once its space is free. @throws Failure: not-found, failed-precondition for one that others are put on */
  async remove(namespace: string, key: string): Promise<void> {
    await (await this.forget(namespace, key))();
  }

  /**
   * As {@link remove}, for who does not wait until its files are gone, which the next daemon would see to as well.
   * @returns what removes them; it never throws
   */
  async forget(namespace: string, key: string): Promise<() => Promise<unknown>> {
    await this.#open();
    const removeFiles = await this.#write(() => this.#removeRecord(namespace, key));
    this.#tell({ topic: "/snapshot/remove", namespace, object: key, payload: {} });
    // What it alone has needed goes.
    this.#parts.collection.soon();
    return removeFiles;
  }

  /** @throws Failure (not-found) */
  stat(namespace: string, key: string): Promise<SnapshotRecord> {
    return this.#read(() => this.#records.require(namespace, key));
  }

  /** @param change makes the new labels of those before. @throws Failure: not-found, invalid-argument; what `change` does */
  async update(namespace: string, key: string, change: (before: Labels) => Labels): Promise<SnapshotRecord> {
    return await this.#write(() => {
      const record = this.#records.update(namespace, key, change);
      this.#parts.collection.refers(needsOf(namespace, record));
      return record;
    });
  }

  /** Those of a namespace, by their names. */
  list(namespace: string): Promise<SnapshotRecord[]> {
    return this.#read(() => this.#records.list(namespace));
  }

  /** What it takes of the disk, without those that it is put on. @throws Failure: not-found, internal */
  async usage(namespace: string, key: string): Promise<SnapshotUsage> {
    await this.#open();
    const record = await this.#read(() => this.#records.require(namespace, key));
    if (record.usage !== undefined) return record.usage;
    if (record.kind === "view") return { size: 0, inodes: 0 };
    return (await this.#contentOf(record)).usage;
  }

  /** Resolves once what was removed has given back its space. */
  async cleanup(): Promise<void> {
    await this.#open();
    await this.settled();
  }

  /** Resolves once what is being removed right now is gone, or can't be removed now. Opens nothing. */
  async settled(): Promise<void> {
    await Promise.all(this.#removals);
  }

  /**
   * A committed snapshot straight from a layer file.
   * @param name its chain id
   * @throws Failure: already-exists; not-found for a parent or a layer file that is not there (any more)
   */
  async commitLayer(
    namespace: string,
    name: string,
    parent: string,
    layer: LayerFile,
    labels: Labels,
    lease?: string,
  ): Promise<void> {
    await this.#open();
    await this.#write(() => {
      this.#parts.namespaces.use(namespace);
      const usage = { size: layer.size, inodes: 1 };
      const isNew = lease === undefined ? { isNew: true as const } : {};
      const what = { layer: layer.key, hasDirectory: false, usage, ...isNew };
      this.#made(namespace, this.#records.create(namespace, { name, parent, kind: "committed", labels }, what), lease);
    });
    this.#tell({ topic: "/snapshot/commit", namespace, object: name, payload: { name } });
  }

  /**
   * Puts a layer file below the upper directory of an active snapshot that nothing was written to; a commit keeps it there.
   * @throws Failure: not-found, failed-precondition
   */
  async setLayer(namespace: string, key: string, layer: LayerFile): Promise<void> {
    await this.#open();
    const before = await this.#read(() => this.#records.require(namespace, key));
    const refuse = (why: string) =>
      new Failure("failed-precondition", "refused", {
        why: `snapshot ${key}: a layer is applied to an empty active one: ${why}`,
      });
    if (before.kind !== "active") throw refuse(`this one is ${before.kind}`);
    if (before.layer === layer.key) return;
    if (!(await this.#directories.isEmpty(before.id))) throw refuse("something was written to this one");
    await this.#write(() => {
      const record = this.#still(namespace, before);
      if (record.layer !== undefined && record.layer !== layer.key) throw refuse("this one has another layer");
      if (record.layer !== undefined) return;
      this.#records.setLayer(namespace, record, layer.key);
      this.#parts.collection.refers([{ kind: LAYERS, namespace: "", key: layer.key }]);
    });
  }

  /**
   * Which snapshot of a namespace these are the mounts of, by the paths in them: that to which the topmost directory belongs.
   * @throws Failure (failed-precondition) when they are of none
   */
  async ofMounts(namespace: string, mounts: readonly Mount[]): Promise<SnapshotRecord> {
    await this.#open();
    return await this.#read(() => this.#ofMounts(namespace, mounts));
  }

  /**
   * Tells what is wrong, a sentence each: of records, directories, layer files and mounts that do not fit together. What is changed
   * meanwhile may be told of as well.
   */
  async *check(): AsyncGenerator<string> {
    const { store } = this.#parts;
    const strangers = new Set(await this.#directories.ids());
    for (let after: { namespace: string; key: string } | undefined; ; ) {
      const page = await store.read(() =>
        this.#records
          .page(after, CHECKED_AT_A_TIME)
          .map((found) => ({ ...found, faults: this.#records.faultsOf(found.namespace, found.record) })),
      );
      for (const { namespace, record, faults } of page) {
        strangers.delete(record.id);
        const what = `snapshot ${JSON.stringify(record.name)} of namespace ${JSON.stringify(namespace)}`;
        for (const fault of faults) yield `${what}: ${fault}`;
        const path = this.#directories.files(record.id);
        if (hasFiles(record) && !existsSync(path)) yield `${what}: no directory ${path}`;
      }
      const last = page.at(-1);
      if (last === undefined) break;
      after = { namespace: last.namespace, key: last.record.name };
    }
    yield* this.#records.strays(store);
    const more = [...(await this.#directories.looks()), ...(await this.#directories.fillings())];
    for (const path of [...[...strangers].map((id) => this.#directories.of(id)), ...more])
      yield `${path}: a directory that no record knows of`;
    yield* this.layers.check();
    yield* this.#mounts.check();
  }

  #ofMounts(namespace: string, mounts: readonly Mount[]): SnapshotRecord {
    const [first, ...more] = mounts;
    const [top = ""] = first === undefined ? [] : directoriesOf(first);
    const id = more.length > 0 ? undefined : this.#directories.idOf(top);
    const owner = id === undefined ? undefined : this.#records.ownerOf(id);
    if (owner?.namespace === namespace) return this.#records.require(namespace, owner.name);
    const shown = JSON.stringify(mounts.map(({ type, source, options }) => [type, source, ...options].join(" ")));
    const why = `these mounts are of no snapshot of namespace ${namespace}: ${shown.slice(0, MAX_SHOWN)}`;
    throw new Failure("failed-precondition", "refused", { why });
  }

  /** The diff ids of a committed snapshot and those that it is put on, the lowest first; undefined where one is not a layer alone. */
  async diffIds(namespace: string, name: string): Promise<string[] | undefined> {
    return await this.#read(() => {
      const ids = this.#records
        .chain(namespace, name)
        .map(({ layer, hasDirectory }) =>
          layer === undefined || hasDirectory ? undefined : this.#records.layer(layer)?.diffId,
        );
      return ids.every((id) => id !== undefined) ? ids.reverse() : undefined;
    });
  }

  /**
   * Has `work` look at what one snapshot has over another: a directory in the form of overlayfs' upper ones; undefined: nothing.
   * @param left the mounts of that which the other one is put on; of a view of nothing, or none
   * @param right the mounts of an active one, or a view of a committed one
   * @throws Failure (failed-precondition, unimplemented); what `work` does
   */
  async withDifference<T>(
    namespace: string,
    left: readonly Mount[],
    right: readonly Mount[],
    work: (upper: string | undefined) => Promise<T>,
  ): Promise<T> {
    await this.#open();
    const { lower, upper } = await this.#read(() => ({
      lower: left.length === 0 ? [] : this.#stackOf(namespace, this.#ofMounts(namespace, left)),
      upper: this.#stackOf(namespace, this.#ofMounts(namespace, right)),
    }));
    const over = upper.slice(0, Math.max(upper.length - lower.length, 0));
    const isOnIt = lower.every((record, i) => record.id === upper[over.length + i]?.id);
    const [top, ...more] = over;
    if (
      !isOnIt ||
      more.length > 0 ||
      (top?.layer !== undefined && top.kind === "active") ||
      (top?.layer && top.hasDirectory)
    ) {
      const why = "a diff is of one snapshot, a directory or a layer, and the one that it is put on";
      throw new Failure("unimplemented", "refused", { why });
    }
    if (top === undefined) return await work(undefined);
    if (top.layer === undefined) return await work(this.#directories.files(top.id));
    return await this.#holding(namespace, top.name, async (chain) => work((await this.#mounts.use(chain))[0]!));
  }

  /** What has files of a snapshot, and of those that it is put on: the topmost first. */
  #stackOf(namespace: string, record: SnapshotRecord): SnapshotRecord[] {
    const { kind, parent } = record;
    const below = parent === "" ? [] : this.#records.chain(namespace, parent);
    return kind === "view" ? below : [record, ...below];
  }

  /** Has `work` look into a committed snapshot, and all that it is put on, as one directory. @throws Failure; what `work` does */
  async withMounted<T>(namespace: string, name: string, work: (directory: string) => Promise<T>): Promise<T> {
    await this.#open();
    return await this.#holding(namespace, name, async (chain) => {
      const lower = await this.#mounts.use(chain);
      return lower.length === 1 ? await work(lower[0]!) : await this.#withOverlay(lower, work);
    });
  }

  /** Keeps the layers of a committed snapshot mounted, for containers that have none of their own. @throws Failure (not-found) */
  async holdLayers(namespace: string, name: string): Promise<HeldLayers> {
    await this.#open();
    const chain = await this.#read(() => {
      const chain = this.#records.chain(namespace, name);
      this.#mounts.hold(chain[0]!.id);
      return chain;
    });
    return {
      directories: async () => {
        await this.#read(() => this.#still(namespace, chain[0]!));
        return await this.#mounts.use(chain);
      },
      release: () => this.#mounts.letGo(chain[0]!.id),
    };
  }

  /** Keeps mounted what is mounted of a committed one, and those that it is put on, which `work` gets, the topmost first. */
  async #holding<T>(namespace: string, name: string, work: (chain: SnapshotRecord[]) => Promise<T>): Promise<T> {
    const chain = await this.#read(() => {
      const chain = this.#records.chain(namespace, name);
      this.#mounts.hold(chain[0]!.id);
      return chain;
    });
    try {
      return await work(chain);
    } finally {
      await this.#mounts.letGo(chain[0]!.id);
    }
  }

  async #withOverlay<T>(lower: readonly string[], work: (directory: string) => Promise<T>): Promise<T> {
    const directory = this.#directories.makeLook();
    try {
      await mount(overlayMount(lower), directory, AbortSignal.timeout(MOUNT_TIMEOUT));
      try {
        return await work(directory);
      } finally {
        unmountNow(directory);
      }
    } finally {
      await this.#directories.removeEmpty(directory);
    }
  }

  async #create(
    namespace: string,
    wanted: Wanted,
    lease: string | undefined,
    filled?: string | undefined,
  ): Promise<Mount[]> {
    await this.#open();
    const { parent } = wanted;
    const isParent = await this.#read(() => this.#records.get(namespace, parent)?.kind === "committed");
    // One that can't be a parent is refused where all else is.
    if (!isParent) return await this.#createOn([], namespace, wanted, lease, filled);
    return await this.#holding(namespace, parent, (chain) => this.#createOn(chain, namespace, wanted, lease, filled));
  }

  /** @param chain its parent, which is held, and those that this is put on, the topmost first */
  async #createOn(
    chain: readonly SnapshotRecord[],
    namespace: string,
    wanted: Wanted,
    lease: string | undefined,
    filled: string | undefined,
  ): Promise<Mount[]> {
    const mapping = idMappingOf(wanted.labels);
    // Better no snapshot than one without the limit that somebody counts on.
    if (wanted.kind === "active" && Object.hasOwn(wanted.labels, QUOTA_LABEL))
      throw new Failure("unimplemented", "refused", {
        why: `label ${QUOTA_LABEL}: a limit for what is written is not supported`,
      });
    // Before anything is made: it gets the owner that its parent's root has.
    const [top] = await this.#mounts.use(chain.slice(0, 1));
    const owner = mappedOwner(top === undefined ? ROOT : this.#directories.ownerOf(top), mapping);
    const writing = this.#write(() => {
      this.#parts.namespaces.use(namespace);
      const record = this.#records.create(namespace, wanted, mapping === undefined ? {} : { mapping });
      if (record.kind === "active") this.#directories.makeActive(record.id, owner, filled);
      else if (record.parent === "") this.#directories.makeEmpty(record.id, owner);
      this.#made(namespace, record, lease);
      return record;
    });
    // While another thread writes that to the disk. Whoever holds the chain lets go of it only when both have ended.
    const [written, mounted] = await Promise.allSettled([writing, this.#mounts.use(chain)]);
    if (written.status === "rejected") throw written.reason;
    const record = written.value;
    try {
      if (mounted.status === "rejected") throw mounted.reason;
      return await this.#mountsOn(mounted.value, namespace, record);
    } catch (error) {
      // Who is told that there is none tries again.
      await (await this.#write(() => this.#removeRecord(namespace, record.name)))();
      throw error;
    }
  }

  /** @param lower the directories of its parent, which is held */
  async #mountsOn(lower: string[], namespace: string, record: SnapshotRecord): Promise<Mount[]> {
    const { mapping } = record;
    const mountsIn = (userNamespace?: number) =>
      this.#read(() => this.#mountsNow(lower, this.#still(namespace, record), userNamespace));
    return mapping === undefined ? await mountsIn() : await this.userNamespaces.use(mapping, mountsIn);
  }

  /** Within {@link Store.read}. */
  #mountsNow(lower: string[], record: SnapshotRecord, userNamespace: number | undefined): Mount[] {
    const { id, kind, name, layer } = record;
    if (kind === "committed") throw new Failure("failed-precondition", "snapshot-not-mountable", { name });
    const own = layer === undefined ? lower : [this.#mounts.useOwn(record), ...lower];
    const all = userNamespace === undefined ? own : this.#mounts.useMapped(id, own, userNamespace);
    const upper = this.#directories.files(id);
    if (kind === "view") {
      if (all.length === 0) return [bindMount(upper, "ro")];
      return [all.length === 1 ? bindMount(all[0]!, "ro") : overlayMount(all)];
    }
    // A disk that lost its power may have lost them.
    this.#directories.makeActive(id, ROOT);
    return [all.length === 0 ? bindMount(upper, "rw") : overlayMount(all, { upper, work: this.#directories.work(id) })];
  }

  /** What has become of one that was looked at before. @throws Failure (not-found) for what is not the same one any more */
  #still(namespace: string, { name, id }: SnapshotRecord): SnapshotRecord {
    const record = this.#records.require(namespace, name);
    if (record.id !== id) throw new Failure("not-found", "no-snapshot", { name });
    return record;
  }

  /** What an active one would be as a committed one. */
  async #contentOf({ id, layer }: SnapshotRecord) {
    const file = layer === undefined ? undefined : await this.layers.get(layer);
    let own: DiskUsage;
    let hasDirectory: boolean;
    try {
      hasDirectory = layer === undefined || !(await this.#directories.isEmpty(id));
      own = hasDirectory ? await diskUsage(this.#directories.files(id)) : { size: 0, inodes: 0 };
    } catch (error) {
      throw new Failure("internal", "system", { why: errorText(error) }, { cause: error });
    }
    const usage = { size: own.size + (file?.size ?? 0), inodes: own.inodes + (file === undefined ? 0 : 1) };
    return { usage, hasDirectory, layer };
  }

  /** Within {@link Store.write}. @returns what frees the space once that is on the disk, and tells how many bytes; it never throws */
  #removeRecord(namespace: string, key: string): () => Promise<number> {
    const { record, parent, layer } = this.#records.remove(namespace, key);
    return async () => {
      const size = record.hasDirectory === false ? 0 : (record.usage?.size ?? 0);
      return size + (await this.#removal(record.id, { parent, layer }));
    };
  }

  /** @returns how many bytes its layer file had, if that goes with it; it never throws */
  #removal(id: number, of: { parent?: number | undefined; layer?: string | undefined } = {}): Promise<number> {
    return this.#track(this.#removeFiles(id, of), { snapshot: id });
  }

  /** @returns never rejects: the next daemon tries again */
  #track(removing: Promise<number>, what: { snapshot: number } | { directory: string }): Promise<number> {
    const removal = removing
      .catch((error) => {
        this.#parts.log.warn({ ...what, error: errorText(error) }, "containerd: remove the files of a snapshot");
        return 0;
      })
      .finally(() => this.#removals.delete(removal));
    this.#removals.add(removal);
    return removal;
  }

  async #removeFiles(
    id: number,
    { parent, layer }: { parent?: number | undefined; layer?: string | undefined },
  ): Promise<number> {
    await this.#mounts.releaseAside(id);
    await this.#mounts.trim(parent);
    const [freed] = await Promise.all([
      layer === undefined ? 0 : this.layers.forget(layer),
      this.#directories.remove(id),
    ]);
    return freed;
  }

  /** Within {@link Store.write}: one has come into being. */
  #made(namespace: string, record: SnapshotRecord, lease: string | undefined): void {
    const { collection, leases } = this.#parts;
    const { name: key } = record;
    collection.made({ kind: KIND, namespace, key });
    collection.refers(needsOf(namespace, record));
    if (lease !== undefined) leases.hold(namespace, lease, { type: KIND, id: key });
  }

  #snapshotKind(): Kind {
    return {
      kind: KIND,
      page: (after, limit, run) =>
        this.#records.page(after, limit).map(({ namespace, record }) => ({
          ...{ namespace, key: record.name },
          isRoot: isRoot(record) || (record.isNew === true && isYoung(record.createdAt, run)),
        })),
      references: (namespace, key, isFlat) => {
        const record = this.#records.get(namespace, key);
        return record === undefined ? [] : needsOf(namespace, record, isFlat);
      },
      remove: (namespace, key) => {
        const record = this.#records.get(namespace, key);
        if (record === undefined || this.#records.isParent(record)) return undefined;
        const removeFiles = this.#removeRecord(namespace, key);
        return async () => {
          await this.#open();
          return await removeFiles();
        };
      },
      isNeeded: (namespace, key) => this.#records.setNeeded(namespace, key),
    };
  }

  /** Those that a snapshot uses go with it; one that none has used yet stays for a while. */
  #layerKind(): Kind {
    return {
      kind: LAYERS,
      page: (after, limit, run) =>
        this.#records.layersPage(after?.key, limit).map(({ key, record }) => ({
          ...{ namespace: "", key },
          isRoot: isYoung(record.createdAt, run),
        })),
      references: () => [],
      remove: (_namespace, key) => (this.#records.removeLayer(key) ? () => this.layers.forget(key) : undefined),
    };
  }

  #tell(event: NewEvent<SnapshotEvent>): void {
    this.#parts.bus.publish(event);
  }

  #read<T>(work: () => T): Promise<T> {
    return this.#parts.store.read(work);
  }

  #write<T>(work: () => T): Promise<T> {
    return this.#parts.store.write(work);
  }

  async #open(): Promise<void> {
    await this.#opening.done();
    await this.#mounts.prepare();
  }

  /** At the first use: what the last daemon has left half made, or mounted without need, goes. */
  async #openNow(): Promise<void> {
    const { store } = this.#parts;
    // It locks the directories to this daemon.
    await store.read(() => {});
    await this.#directories.open();
    await this.layers.open();
    await this.#mounts.open();
    await this.#directories.removeLooks();
    for (const path of await this.#directories.fillings()) void this.removeFilling(path);
    const ids = await this.#directories.ids();
    // Before what is of no snapshot is removed: no new one may get its place.
    if (ids.length > 0) await store.write(() => this.#records.reserve(ids.reduce((most, id) => Math.max(most, id))));
    for (const id of ids) {
      const isKnown = await store.read(() => this.#records.ownerOf(id) !== undefined);
      if (!isKnown) void this.#removal(id);
    }
  }
}

/** Whether there is a directory of its own: of a committed one only where it is not a layer file alone. */
function hasFiles({ kind, parent, hasDirectory }: SnapshotRecord): boolean {
  if (kind === "committed") return hasDirectory === true;
  return kind === "active" || parent === "";
}

function isRoot({ kind, name, labels }: SnapshotRecord): boolean {
  return isRootLabelled(labels) || (kind !== "committed" && !name.startsWith(UNPACKING));
}

/** @param isFlat without what its labels name */
function needsOf(namespace: string, { parent, layer, labels }: SnapshotRecord, isFlat = false): Node[] {
  const nodes = isFlat ? [] : referencesOf(namespace, labels);
  if (parent !== "") nodes.push({ kind: KIND, namespace, key: parent });
  if (layer !== undefined) nodes.push({ kind: LAYERS, namespace: "", key: layer });
  return nodes;
}

/** Whom the root directory of a snapshot belongs to that others than on the disk own. */
function mappedOwner({ uid, gid }: RootOwner, mapping: IdMapping | undefined): RootOwner {
  if (mapping === undefined) return { uid, gid };
  const of = (id: number, ranges: IdMapping["uids"]) => outsideOf(id, ranges) ?? outsideOf(0, ranges) ?? id;
  return { uid: of(uid, mapping.uids), gid: of(gid, mapping.gids) };
}
