import { lstatSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { errorText, hasCode } from "../../system/linux/libc.js";
import { type ErofsWay, imageOf, isErofs, mountErofs, requireErofs } from "../../system/mount/erofs.js";
import { mountIdmapped } from "../../system/mount/idmapped.js";
import { unmountAside, unmountNow } from "../../system/mount/kernel-mount.js";
import { mountsBelow } from "../../system/mount/mountinfo.js";
import { Failure } from "../failure/failure.js";
import type { Store } from "../metadata/store.js";
import { Slices } from "../scheduling/slices.js";
import type { LayerFiles } from "./layer-files.js";
import type { SnapshotDirectories } from "./snapshot-directories.js";
import type { SnapshotRecord } from "./snapshot-record.js";
import type { SnapshotRecords } from "./snapshot-records.js";

/**
 * The mounts of layer files: one is there while an active snapshot or a view, or somebody in this process, uses it. Whether one is needed
 * is asked and acted on in one go, so that it can't change meanwhile; many of them make room for others in between.
 */
export class LayerMounts {
  readonly #store: Store;
  readonly #records: SnapshotRecords;
  readonly #directories: SnapshotDirectories;
  readonly #layers: LayerFiles;
  readonly #way: ErofsWay | undefined;
  /** Committed snapshots that are used: an active one or a view is put on them, directly or not, or they are {@link hold held}. */
  readonly #inUse = new Set<number>();
  readonly #holds = new Map<number, number>();
  /** Why nothing can be mounted. */
  #fault: string | undefined = "not looked at yet";

  constructor(
    store: Store,
    records: SnapshotRecords,
    directories: SnapshotDirectories,
    layers: LayerFiles,
    way?: ErofsWay,
  ) {
    this.#store = store;
    this.#records = records;
    this.#directories = directories;
    this.#layers = layers;
    this.#way = way;
  }

  /** Finds what is in use, and unmounts what the last daemon has mounted and nothing uses. */
  async open(): Promise<void> {
    await this.#records.inUse(this.#store, (id) => this.#inUse.add(id));
    for await (const { target, isUsed } of this.#own(this.#inUse)) if (!isUsed) unmountNow(target);
  }

  /** Tells of mounts that nothing uses, and of those of another layer than they should be of, a sentence each. */
  async *check(): AsyncGenerator<string> {
    const inUse = new Set(this.#inUse);
    await this.#records.inUse(this.#store, (id) => inUse.add(id));
    for await (const { target, isUsed, image, wanted } of this.#own(inUse)) {
      if (!isUsed) yield `${target}: a mount that nothing uses`;
      else if (image !== undefined && image !== wanted)
        yield `${target}: ${image} is mounted, not ${wanted ?? "nothing"}`;
    }
  }

  /** What this or an earlier daemon has mounted: which image, unless it is no layer's, and which one the records know of. */
  async *#own(inUse: ReadonlySet<number>) {
    for (const mount of await mountsBelow(this.#directories.path)) {
      const { target } = mount;
      const id = this.#directories.idOf(target);
      const { isLook, isMapped } = this.#directories.purposeOf(target);
      const image = isMapped ? undefined : imageOf(mount);
      if (!isLook && !isMapped && !this.#isOfLayer(image)) continue;
      const record = id === undefined ? undefined : await this.#store.read(() => this.#records.ofDirectory(id));
      const wanted = record?.layer === undefined ? undefined : this.#layers.path(record.layer);
      const isUsed = record !== undefined && (record.kind !== "committed" || inUse.has(record.id));
      yield { target, image, wanted, isUsed };
    }
  }

  /** Finds out whether layer files can be mounted, until they can. */
  async prepare(): Promise<void> {
    if (this.#fault === undefined) return;
    try {
      await requireErofs();
      this.#fault = undefined;
    } catch (error) {
      this.#fault = errorText(error);
    }
  }

  /**
   * Has all layer files of a chain mounted. The topmost one has to be held, or to have an active one or a view on it.
   * @param chain the topmost first
   * @returns the directories of the chain, the topmost first
   * @throws Failure (failed-precondition)
   */
  async use(chain: readonly SnapshotRecord[]): Promise<string[]> {
    for (const { id } of chain) this.#inUse.add(id);
    const directories: string[] = [];
    const slices = new Slices();
    for (const record of chain) {
      if (record.layer === undefined || record.hasDirectory) directories.push(this.#directories.files(record.id));
      if (record.layer !== undefined) {
        const target = this.#target(record);
        directories.push(target);
        // What is written to the store meanwhile goes on between two mounts.
        if (this.#mount(record.layer, target)) await nextTurn();
      }
      await slices.next();
    }
    return directories;
  }

  /** Has the layer file of one snapshot mounted. @returns where. @throws as {@link use} */
  useOwn(record: SnapshotRecord): string {
    const target = this.#target(record);
    this.#mount(record.layer!, target);
    return target;
  }

  /**
   * Has directories mounted once more for an active one or a view, where files belong to the ids of a user namespace.
   * @param userNamespace a descriptor
   * @returns where. @throws Failure (failed-precondition)
   */
  useMapped(id: number, directories: readonly string[], userNamespace: number): string[] {
    return directories.map((directory) => {
      const target = this.#directories.mapped(id, directory);
      try {
        this.#directories.makeMountPoint(target);
        if (!isSameFile(directory, target)) mountIdmapped(directory, target, userNamespace);
      } catch (error) {
        const why = `files of other owners than on the disk need Linux 5.19, and a file system that knows them: ${errorText(error)}`;
        throw new Failure("failed-precondition", "refused", { why }, { cause: error });
      }
      return target;
    });
  }

  /** Keeps what a committed one has mounted, until {@link letGo}. */
  hold(id: number): void {
    this.#holds.set(id, (this.#holds.get(id) ?? 0) + 1);
  }

  async letGo(id: number): Promise<void> {
    const left = this.#holds.get(id)! - 1;
    if (left === 0) this.#holds.delete(id);
    else this.#holds.set(id, left);
    await this.trim(id);
  }

  /** Unmounts what a snapshot, and those that it is put on, have mounted and nothing uses (any more). */
  async trim(id: number | undefined): Promise<void> {
    const slices = new Slices();
    for (let next = id; next !== undefined; await slices.next())
      next = await this.#store.read(() => this.#trimOne(next!));
  }

  /** Answers which one is to be looked at next. */
  #trimOne(id: number): number | undefined {
    if (this.#isNeeded(id)) return undefined;
    this.#release(id);
    return this.#records.ownerOf(id)?.parent;
  }

  /** Unmounts what one has mounted that is gone, while others get their turn. */
  async releaseAside(id: number): Promise<void> {
    await Promise.all(
      this.#directories.mappedOf(id).map(async (target) => {
        try {
          await unmountAside(target);
        } catch (error) {
          ignoreNoMount(error);
        }
      }),
    );
    this.#releaseFiles(id);
  }

  /** Unmounts what one has mounted that has become another. */
  #release(id: number): void {
    this.#releaseFiles(id);
    for (const target of this.#directories.mappedOf(id)) {
      try {
        unmountNow(target);
      } catch (error) {
        ignoreNoMount(error);
      }
    }
  }

  #releaseFiles(id: number): void {
    this.#inUse.delete(id);
    for (const target of [this.#directories.layer(id), this.#directories.files(id)])
      if (isErofs(target)) unmountNow(target);
  }

  #isNeeded(id: number): boolean {
    return (
      this.#holds.has(id) ||
      this.#records.hasLiveChild(id) ||
      this.#records.committedChildren(id).some((child) => this.#inUse.has(child))
    );
  }

  #target({ id, kind, hasDirectory }: SnapshotRecord): string {
    return kind === "committed" && !hasDirectory ? this.#directories.files(id) : this.#directories.layer(id);
  }

  /** @returns whether it was not mounted */
  #mount(key: string, target: string): boolean {
    // Whoever has unmounted it: an empty directory in its place would be a container without its files.
    if (isErofs(target)) return false;
    const path = this.#layers.path(key);
    const fail = (why: string) => new Failure("failed-precondition", "layer-not-mounted", { path, why });
    if (this.#fault !== undefined) throw fail(this.#fault);
    try {
      this.#mountAt(path, target);
    } catch (error) {
      throw fail(errorText(error));
    }
    return true;
  }

  /** @throws a system error */
  #mountAt(path: string, target: string): void {
    try {
      mountErofs(path, target, this.#way);
    } catch (error) {
      if (!hasCode(error, "ENOENT")) throw error;
      // At its first use there is no place to mount it at.
      this.#directories.makeMountPoint(target);
      mountErofs(path, target, this.#way);
    }
  }

  #isOfLayer(file: string | undefined): boolean {
    return file !== undefined && this.#layers.isPath(file);
  }
}

/** @throws the error, unless it says that nothing is mounted there */
function ignoreNoMount(error: unknown): void {
  if (!hasCode(error, "EINVAL")) throw error;
}

function isSameFile(one: string, other: string): boolean {
  const [a, b] = [lstatSync(one), lstatSync(other)];
  return a.dev === b.dev && a.ino === b.ino;
}
