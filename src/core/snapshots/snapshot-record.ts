import type { Labels } from "../metadata/labels.js";
import type { IdMapping } from "./id-mapping.js";

/** An active one is being written to, a view only looked at; a committed one never changes, and others may be put on it. */
export type SnapshotKind = "active" | "view" | "committed";

/** What is known of a snapshot. */
export interface SnapshotRecord {
  /** By which it is found in its namespace: the key of an active one or a view, the name of a committed one. */
  name: string;
  /** Name of the committed one that it is put on; "": none. */
  parent: string;
  kind: SnapshotKind;
  labels: Labels;
  /** Nanoseconds since the epoch. */
  createdAt: bigint;
  updatedAt: bigint;
  /** Of its directory; no other snapshot of any namespace has it, or ever had it. */
  id: number;
  /** Key of its layer file. */
  layer?: string | undefined;
  /** Whether a committed one has files in a directory; on its layer file if it has one. */
  hasDirectory?: boolean;
  /** Whom files belong to for who mounts it, where that is not whom they belong to on the disk. */
  mapping?: IdMapping;
  /** Committed without a lease, and nothing has needed it yet. */
  isNew?: true;
  /** What a committed one takes of the disk. */
  usage?: SnapshotUsage | undefined;
}

export interface SnapshotUsage {
  /** In bytes. */
  size: number;
  inodes: number;
}
