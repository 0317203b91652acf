import { errorText } from "../../system/linux/libc.js";
import { type ErofsWay, imageOf, isErofs, mountErofs, requireErofs } from "../../system/mount/erofs.js";
import { unmountNow } from "../../system/mount/kernel-mount.js";
import { mountsBelow } from "../../system/mount/mountinfo.js";
import { Failure } from "../failure/failure.js";
import type { Store } from "../metadata/store.js";
import type { LayerFiles } from "./layer-files.js";
import type { SnapshotDirectories } from "./snapshot-directories.js";
import type { SnapshotRecord } from "./snapshot-record.js";
import type { SnapshotRecords } from "./snapshot-records.js";

/**
 * The mounts of layer files: one is there while an active snapshot or a view, or a look of our own, uses it. All of it happens in one go,
 * within {@link Store.read}: what is needed can't change meanwhile.
 */
export class LayerMounts {
  readonly #records: SnapshotRecords;
  readonly #directories: SnapshotDirectories;
  readonly #layers: LayerFiles;
  readonly #way: ErofsWay | undefined;
  /** Committed snapshots that an active one, a view or a look is put on, directly or not. */
  readonly #inUse = new Set<number>();
  /** How often one is looked at by ourselves. */
  readonly #pins = new Map<number, number>();
  /** Why nothing can be mounted. */
  #fault: string | undefined = "not looked at yet";

  constructor(records: SnapshotRecords, directories: SnapshotDirectories, layers: LayerFiles, way?: ErofsWay) {
    this.#records = records;
    this.#directories = directories;
    this.#layers = layers;
    this.#way = way;
  }

  /** Finds what is in use, and unmounts what the last daemon has mounted and nothing uses. */
  async open(store: Store): Promise<void> {
    await this.#records.inUse(store, (id) => this.#inUse.add(id));
    for (const mount of await mountsBelow(this.#directories.path)) {
      const { target } = mount;
      const id = this.#directories.idOf(target);
      const isOurs = this.#directories.isLook(target) || this.#isOfLayer(imageOf(mount));
      if (isOurs && (id === undefined || !this.#inUse.has(id))) unmountNow(target);
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
   * Has all layer files of a chain mounted.
   * @param chain the topmost first
   * @returns the directories of the chain, the topmost first
   * @throws Failure (failed-precondition, not-found)
   */
  use(chain: readonly SnapshotRecord[]): string[] {
    return chain.flatMap((record) => {
      this.#inUse.add(record.id);
      if (record.layer === undefined) return [this.#directories.files(record.id)];
      const target = this.#target(record);
      this.#mount(record.layer, target);
      return record.hasDirectory ? [this.#directories.files(record.id), target] : [target];
    });
  }

  /** Has the layer file of an active one mounted. @returns where. @throws as {@link use} */
  useOwn(record: SnapshotRecord): string {
    const target = this.#target(record);
    this.#mount(record.layer!, target);
    return target;
  }

  pin(id: number): void {
    this.#pins.set(id, (this.#pins.get(id) ?? 0) + 1);
  }

  unpin(id: number): void {
    const left = this.#pins.get(id)! - 1;
    if (left === 0) this.#pins.delete(id);
    else this.#pins.set(id, left);
  }

  /** Unmounts what a snapshot, and those that it is put on, have mounted that nothing uses (any more). */
  trim(id: number | undefined): void {
    for (let next = id; next !== undefined; next = this.#records.ownerOf(next)?.parent) {
      if (this.#isNeeded(next)) return;
      this.release(next);
    }
  }

  /** Unmounts what one has mounted that is gone, or has become another. */
  release(id: number): void {
    this.#inUse.delete(id);
    for (const target of [this.#directories.layer(id), this.#directories.files(id)])
      if (isErofs(target)) unmountNow(target);
  }

  #isNeeded(id: number): boolean {
    return (
      this.#pins.has(id) ||
      this.#records.hasLiveChild(id) ||
      this.#records.committedChildren(id).some((child) => this.#inUse.has(child))
    );
  }

  #target({ id, kind, hasDirectory }: SnapshotRecord): string {
    return kind === "committed" && !hasDirectory ? this.#directories.files(id) : this.#directories.layer(id);
  }

  #mount(key: string, target: string): void {
    // Whoever has unmounted it: an empty directory in its place would be a container without its files.
    if (isErofs(target)) return;
    const path = this.#layers.path(key);
    const fail = (why: string) => new Failure("failed-precondition", "layer-not-mounted", { path, why });
    if (this.#fault !== undefined) throw fail(this.#fault);
    try {
      this.#directories.makeMountPoint(target);
      mountErofs(path, target, this.#way);
    } catch (error) {
      throw fail(errorText(error));
    }
  }

  #isOfLayer(file: string | undefined): boolean {
    return file !== undefined && this.#layers.isPath(file);
  }
}
