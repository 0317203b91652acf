import type { Mount } from "../../system/mount/mount.js";
import type { EventBus } from "../events/event-bus.js";
import { Failure } from "../failure/failure.js";
import type { Collection } from "../metadata/collection.js";
import type { Labels } from "../metadata/labels.js";
import type { Leases } from "../metadata/leases.js";
import type { Namespaces } from "../metadata/namespaces.js";
import type { Store } from "../metadata/store.js";
import type { LayerFile, LayerFiles } from "./layer-files.js";
import type { SnapshotRecord, SnapshotUsage } from "./snapshot-record.js";

/** The name that clients know these snapshots by. */
export const SNAPSHOTTER = "overlayfs";

export interface SnapshotsOptions {
  store: Store;
  namespaces: Namespaces;
  leases: Leases;
  collection: Collection;
  bus: EventBus;
  /** `--root`; what is below it is made when it is needed. */
  root: string;
  layers: LayerFiles;
}

/**
 * Snapshots: file trees that are put on each other, stacked by overlayfs. A committed one is a directory, a layer file, or both (a
 * directory on a layer file).
 */
export class Snapshots {
  constructor(options: SnapshotsOptions) {
    void options;
  }

  /** @throws Failure: not-found, already-exists, invalid-argument, failed-precondition where there can be none */
  prepare(namespace: string, key: string, parent: string, labels: Labels, lease?: string): Promise<Mount[]> {
    throw notYet();
  }

  /** As {@link prepare}, to be looked at only. */
  view(namespace: string, key: string, parent: string, labels: Labels, lease?: string): Promise<Mount[]> {
    throw notYet();
  }

  /** Of an active one, or a view: what clients mount themselves. */
  mounts(namespace: string, key: string): Promise<Mount[]> {
    throw notYet();
  }

  commit(namespace: string, name: string, key: string, labels: Labels, lease?: string): Promise<void> {
    throw notYet();
  }

  /** @throws Failure: not-found, failed-precondition for one that others are put on */
  remove(namespace: string, key: string): Promise<void> {
    throw notYet();
  }

  stat(namespace: string, key: string): Promise<SnapshotRecord> {
    throw notYet();
  }

  /** @param change makes the new labels of those before */
  update(namespace: string, key: string, change: (before: Labels) => Labels): Promise<SnapshotRecord> {
    throw notYet();
  }

  list(namespace: string): Promise<SnapshotRecord[]> {
    throw notYet();
  }

  usage(namespace: string, key: string): Promise<SnapshotUsage> {
    throw notYet();
  }

  /** Resolves once what was removed has given back its space. */
  cleanup(): Promise<void> {
    throw notYet();
  }

  /**
   * A committed snapshot straight from a layer file.
   * @param name its chain id
   * @throws Failure: already-exists; not-found for a parent or a layer file that is not there (any more)
   */
  commitLayer(
    namespace: string,
    name: string,
    parent: string,
    layer: LayerFile,
    labels: Labels,
    lease?: string,
  ): Promise<void> {
    throw notYet();
  }

  /** Puts a layer file below the upper directory of an active snapshot that nothing was written to; a commit keeps it there. */
  setLayer(namespace: string, key: string, layer: LayerFile): Promise<void> {
    throw notYet();
  }

  /** Whose mounts these are, by the paths in them. */
  ofMounts(mounts: readonly Mount[]): Promise<{ namespace: string; key: string } | undefined> {
    throw notYet();
  }

  /** Has `work` look into a committed snapshot, and all that it is put on, as one directory. */
  withMounted<T>(namespace: string, name: string, work: (directory: string) => Promise<T>): Promise<T> {
    throw notYet();
  }
}

function notYet(): Failure {
  return new Failure("unimplemented", "refused", { why: "snapshots are not there yet" });
}
