import { secondsAndNanos } from "../../../contract/go/rfc3339.js";
import type { ContainerEvent } from "../../../core/containers/container-event.js";
import type { ContentEvent } from "../../../core/content/content-event.js";
import type { Event } from "../../../core/events/event.js";
import { ForeignPayload } from "../../../core/events/foreign-payload.js";
import type { ImageEvent } from "../../../core/images/image-event.js";
import type { NamespaceEvent } from "../../../core/metadata/namespace-event.js";
import type { SnapshotEvent } from "../../../core/snapshots/snapshot-event.js";
import { SNAPSHOTTER as snapshotter } from "../../../core/snapshots/snapshots.js";
import { INIT } from "../../../core/tasks/process.js";
import type { TaskEvent } from "../../../core/tasks/task-event.js";
import type { Envelope } from "../../../proto/containerd/types/event.js";
import type { Any } from "../../../proto/google/protobuf/any.js";
import { anyOf } from "./messages.js";

type OwnEvent = TaskEvent | ContainerEvent | NamespaceEvent | ContentEvent | SnapshotEvent | ImageEvent;

const envelopes = new WeakMap<Event, Envelope>();

/** What a subscriber gets of an event; made once for all of them. */
export function envelopeOf(event: Event): Envelope {
  let envelope = envelopes.get(event);
  if (envelope === undefined) {
    const { time, namespace, topic } = event;
    envelope = { timestamp: secondsAndNanos(time), namespace, topic, event: payloadOf(event) };
    envelopes.set(event, envelope);
  }
  return envelope;
}

function payloadOf(event: Event): Any {
  const { payload } = event;
  // Clients publish under any topic, ours too.
  return payload instanceof ForeignPayload ? payload : ownPayload(event as OwnEvent);
}

function ownPayload(event: OwnEvent): Any {
  const { topic, object, payload } = event;
  switch (topic) {
    case "/tasks/create": {
      const { bundle, stdio, terminal, checkpoint, pid } = payload;
      const rootfs = payload.rootfs.map((mount) => ({ ...mount, options: [...mount.options] }));
      const io = { ...stdio, terminal };
      return anyOf("TaskCreate", { containerId: object, bundle, rootfs, io, checkpoint, pid });
    }
    case "/tasks/start":
      return anyOf("TaskStart", { containerId: object, pid: payload.pid });
    case "/tasks/exec-added":
      return anyOf("TaskExecAdded", { containerId: object, execId: payload.process });
    case "/tasks/exec-started":
      return anyOf("TaskExecStarted", { containerId: object, execId: payload.process, pid: payload.pid });
    case "/tasks/exit":
      return anyOf("TaskExit", endOf(object, payload));
    case "/tasks/delete":
      return anyOf("TaskDelete", { ...endOf(object, payload), id: payload.process === INIT ? "" : payload.process });
    case "/tasks/oom":
      return anyOf("TaskOOM", { containerId: object });
    case "/tasks/paused":
      return anyOf("TaskPaused", { containerId: object });
    case "/tasks/resumed":
      return anyOf("TaskResumed", { containerId: object });
    case "/tasks/checkpointed":
      return anyOf("TaskCheckpointed", { containerId: object, checkpoint: payload.path });
    case "/containers/create": {
      const { image, runtime } = payload;
      return anyOf("ContainerCreate", { id: object, image, runtime: { name: runtime.name, options: runtime.options } });
    }
    case "/containers/update":
      return anyOf("ContainerUpdate", { id: object, ...payload });
    case "/containers/delete":
      return anyOf("ContainerDelete", { id: object });
    case "/content/create":
      return anyOf("ContentCreate", { digest: object, size: BigInt(payload.size) });
    case "/content/delete":
      return anyOf("ContentDelete", { digest: object });
    case "/images/create":
      return anyOf("ImageCreate", { name: object, labels: payload.labels });
    case "/images/update":
      return anyOf("ImageUpdate", { name: object, labels: payload.labels });
    case "/images/delete":
      return anyOf("ImageDelete", { name: object });
    case "/namespaces/create":
      return anyOf("NamespaceCreate", { name: object, labels: payload.labels });
    case "/namespaces/update":
      return anyOf("NamespaceUpdate", { name: object, labels: payload.labels });
    case "/namespaces/delete":
      return anyOf("NamespaceDelete", { name: object });
    case "/snapshot/prepare":
      return anyOf("SnapshotPrepare", { key: object, parent: payload.parent, snapshotter });
    case "/snapshot/commit":
      return anyOf("SnapshotCommit", { key: object, name: payload.name, snapshotter });
    case "/snapshot/remove":
      return anyOf("SnapshotRemove", { key: object, snapshotter });
  }
}

/** An init goes by the name of its container. */
function endOf(containerId: string, end: { process: string; pid: number; status: number; exitedAt: bigint }) {
  const { process, pid, status: exitStatus, exitedAt } = end;
  const id = process === INIT ? containerId : process;
  return { containerId, id, pid, exitStatus, exitedAt: secondsAndNanos(exitedAt) };
}
