import { secondsAndNanos } from "../../contract/go/rfc3339.js";
import type { Containers } from "../../core/containers/containers.js";
import { isEngines, managed } from "../../core/engine/kept-container.js";
import { refusal } from "../../core/failure/failure.js";
import { unlessMissing } from "../../core/failure/unless-missing.js";
import type { Labels } from "../../core/metadata/labels.js";
import type { SnapshotRecord } from "../../core/snapshots/snapshot-record.js";
import { SNAPSHOTTER, type Snapshots } from "../../core/snapshots/snapshots.js";
import {
  type Info,
  Kind,
  type SnapshotsServer,
  SnapshotsService,
} from "../../proto/containerd/services/snapshots/v1/snapshots.js";
import type { Mount } from "../../system/mount/mount.js";
import type { GrpcService } from "../grpc/server.js";
import { type MaskFields, masked } from "./field-mask.js";
import { entry, type Field, filtered, present } from "./filters/filter.js";
import type { FrontV1, NamespacedCall } from "./front.js";

type Labelled = { labels: Labels };

const MUTABLE: MaskFields<Labelled> = new Map([["labels", { field: "labels", isMap: true }]]);

/** So many snapshots are in one message. */
const BLOCK = 100;

const KINDS = { active: Kind.ACTIVE, view: Kind.VIEW, committed: Kind.COMMITTED } as const;

/** File trees that are put on each other. */
export function snapshotsService(front: FrontV1, snapshots: Snapshots, containers: Containers): GrpcService {
  /** A call about our snapshotter; there is no other. */
  const ours = <Request extends { snapshotter: string }, Response>(
    handle: (call: NamespacedCall<Request>) => Promise<Response>,
  ) =>
    front.namespaced((call: NamespacedCall<Request>) => {
      checkSnapshotter(call.request.snapshotter);
      return handle(call);
    });
  const implementation: SnapshotsServer = {
    prepare: ours(async ({ namespace, request: { key, parent, labels }, metadata }) => ({
      mounts: (await snapshots.prepare(namespace, key, parent, labels, { lease: metadata.lease })).map(mountMessage),
    })),
    view: ours(async ({ namespace, request: { key, parent, labels }, metadata }) => ({
      mounts: (await snapshots.view(namespace, key, parent, labels, metadata.lease)).map(mountMessage),
    })),
    mounts: ours(async ({ namespace, request }) => ({
      mounts: (await snapshots.mounts(namespace, request.key)).map(mountMessage),
    })),
    commit: ours(async ({ namespace, request: { name, key, labels }, metadata }) => {
      await requireOthers(containers, namespace, key, "committed");
      await snapshots.commit(namespace, name, key, labels, metadata.lease);
      return {};
    }),
    remove: ours(async ({ namespace, request }) => {
      await requireOthers(containers, namespace, request.key, "removed");
      await snapshots.remove(namespace, request.key);
      return {};
    }),
    stat: ours(async ({ namespace, request }) => ({
      info: messageOf(await snapshots.stat(namespace, request.key)),
    })),
    update: ours(async ({ namespace, request: { info, updateMask } }) => {
      const { name = "", labels = {} } = info ?? {};
      if (name === "") throw refusal("snapshot name required");
      const record = await snapshots.update(
        namespace,
        name,
        (before) =>
          masked<Labelled>({ labels: before }, { labels }, updateMask, MUTABLE, `snapshot ${JSON.stringify(name)}`)
            .labels,
      );
      return { info: messageOf(record) };
    }),
    list: front.namespacedStream(async function* ({ namespace, request: { snapshotter, filters } }) {
      checkSnapshotter(snapshotter);
      const found = await filtered(await snapshots.list(namespace), filters, fieldOf);
      for (let begin = 0; begin < found.length; begin += BLOCK)
        yield { info: found.slice(begin, begin + BLOCK).map(messageOf) };
    }),
    usage: ours(async ({ namespace, request }) => {
      const { size, inodes } = await snapshots.usage(namespace, request.key);
      return { size: BigInt(size), inodes: BigInt(inodes) };
    }),
    cleanup: ours(async () => {
      await snapshots.cleanup();
      return {};
    }),
  };
  return { definition: SnapshotsService, implementation };
}

/** The engine's containers have their layers, whose names are theirs. @throws Failure (failed-precondition) for one of these */
async function requireOthers(containers: Containers, namespace: string, key: string, doing: string): Promise<void> {
  const record = await unlessMissing(containers.getBrief(namespace, key));
  if (record !== undefined && isEngines(record) && record.snapshotKey === key)
    throw managed(key, doing, "its snapshot");
}

function checkSnapshotter(name: string): void {
  if (name === "") throw refusal("snapshotter argument missing");
  if (name !== SNAPSHOTTER) throw refusal(`snapshotter not loaded: ${name}`);
}

function fieldOf({ name, parent, kind, labels }: SnapshotRecord): Field {
  return ([field, ...path]) => {
    if (field === "kind") return kind;
    if (field === "name") return present(name);
    if (field === "parent") return present(parent);
    return field === "labels" ? entry(labels, path) : undefined;
  };
}

function messageOf({ name, parent, kind, labels, createdAt, updatedAt }: SnapshotRecord): Info {
  return {
    ...{ name, parent, labels, kind: KINDS[kind] },
    createdAt: secondsAndNanos(createdAt),
    updatedAt: secondsAndNanos(updatedAt),
  };
}

function mountMessage(mount: Mount) {
  return { ...mount, options: [...mount.options] };
}
