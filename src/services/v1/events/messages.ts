import * as containerEvents from "../../../proto/containerd/events/container.js";
import * as contentEvents from "../../../proto/containerd/events/content.js";
import * as imageEvents from "../../../proto/containerd/events/image.js";
import * as namespaceEvents from "../../../proto/containerd/events/namespace.js";
import * as snapshotEvents from "../../../proto/containerd/events/snapshot.js";
import * as taskEvents from "../../../proto/containerd/events/task.js";
import type { Any } from "../../../proto/google/protobuf/any.js";

/** The messages of what happens, by their names. */
interface Messages {
  ContainerCreate: containerEvents.ContainerCreate;
  ContainerUpdate: containerEvents.ContainerUpdate;
  ContainerDelete: containerEvents.ContainerDelete;
  ContentCreate: contentEvents.ContentCreate;
  ContentDelete: contentEvents.ContentDelete;
  ImageCreate: imageEvents.ImageCreate;
  ImageUpdate: imageEvents.ImageUpdate;
  ImageDelete: imageEvents.ImageDelete;
  NamespaceCreate: namespaceEvents.NamespaceCreate;
  NamespaceUpdate: namespaceEvents.NamespaceUpdate;
  NamespaceDelete: namespaceEvents.NamespaceDelete;
  SnapshotPrepare: snapshotEvents.SnapshotPrepare;
  SnapshotCommit: snapshotEvents.SnapshotCommit;
  SnapshotRemove: snapshotEvents.SnapshotRemove;
  TaskCreate: taskEvents.TaskCreate;
  TaskStart: taskEvents.TaskStart;
  TaskExecAdded: taskEvents.TaskExecAdded;
  TaskExecStarted: taskEvents.TaskExecStarted;
  TaskExit: taskEvents.TaskExit;
  TaskDelete: taskEvents.TaskDelete;
  TaskOOM: taskEvents.TaskOOM;
  TaskPaused: taskEvents.TaskPaused;
  TaskResumed: taskEvents.TaskResumed;
  TaskCheckpointed: taskEvents.TaskCheckpointed;
}

interface Codec<Message> {
  encode(message: Message): { finish(): Uint8Array };
  decode(bytes: Uint8Array): Message;
}

const CODECS: { readonly [Name in keyof Messages]: Codec<Messages[Name]> } = {
  ContainerCreate: containerEvents.ContainerCreate,
  ContainerUpdate: containerEvents.ContainerUpdate,
  ContainerDelete: containerEvents.ContainerDelete,
  ContentCreate: contentEvents.ContentCreate,
  ContentDelete: contentEvents.ContentDelete,
  ImageCreate: imageEvents.ImageCreate,
  ImageUpdate: imageEvents.ImageUpdate,
  ImageDelete: imageEvents.ImageDelete,
  NamespaceCreate: namespaceEvents.NamespaceCreate,
  NamespaceUpdate: namespaceEvents.NamespaceUpdate,
  NamespaceDelete: namespaceEvents.NamespaceDelete,
  SnapshotPrepare: snapshotEvents.SnapshotPrepare,
  SnapshotCommit: snapshotEvents.SnapshotCommit,
  SnapshotRemove: snapshotEvents.SnapshotRemove,
  TaskCreate: taskEvents.TaskCreate,
  TaskStart: taskEvents.TaskStart,
  TaskExecAdded: taskEvents.TaskExecAdded,
  TaskExecStarted: taskEvents.TaskExecStarted,
  TaskExit: taskEvents.TaskExit,
  TaskDelete: taskEvents.TaskDelete,
  TaskOOM: taskEvents.TaskOOM,
  TaskPaused: taskEvents.TaskPaused,
  TaskResumed: taskEvents.TaskResumed,
  TaskCheckpointed: taskEvents.TaskCheckpointed,
};

const PACKAGE = "containerd.events.";
/** Where containerd has the messages about images. */
const PACKAGE_OF_IMAGES = "containerd.services.images.v1.";

/** A message as an envelope carries it. */
export function anyOf<Name extends keyof Messages>(name: Name, message: Messages[Name]): Any {
  return { typeUrl: `${packageOf(name)}${name}`, value: Buffer.from(CODECS[name].encode(message).finish()) };
}

/** The message in an envelope; undefined for one of a type that is not known here, and for one that is damaged. */
export function messageOf({ typeUrl, value }: Any): object | undefined {
  const name = typeUrl.slice(typeUrl.lastIndexOf(".") + 1);
  if (!Object.hasOwn(CODECS, name) || typeUrl !== `${packageOf(name)}${name}`) return undefined;
  try {
    return CODECS[name as keyof Messages].decode(value);
  } catch {
    return undefined;
  }
}

function packageOf(name: string): string {
  return name.startsWith("Image") ? PACKAGE_OF_IMAGES : PACKAGE;
}
