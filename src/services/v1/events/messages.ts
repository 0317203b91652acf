import * as containerEvents from "../../../proto/containerd/events/container.js";
import * as namespaceEvents from "../../../proto/containerd/events/namespace.js";
import * as taskEvents from "../../../proto/containerd/events/task.js";
import type { Any } from "../../../proto/google/protobuf/any.js";

/** The messages of what happens, by their names. */
interface Messages {
  ContainerCreate: containerEvents.ContainerCreate;
  ContainerUpdate: containerEvents.ContainerUpdate;
  ContainerDelete: containerEvents.ContainerDelete;
  NamespaceCreate: namespaceEvents.NamespaceCreate;
  NamespaceUpdate: namespaceEvents.NamespaceUpdate;
  NamespaceDelete: namespaceEvents.NamespaceDelete;
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
  NamespaceCreate: namespaceEvents.NamespaceCreate,
  NamespaceUpdate: namespaceEvents.NamespaceUpdate,
  NamespaceDelete: namespaceEvents.NamespaceDelete,
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

/** A message as an envelope carries it. */
export function anyOf<Name extends keyof Messages>(name: Name, message: Messages[Name]): Any {
  return { typeUrl: `${PACKAGE}${name}`, value: Buffer.from(CODECS[name].encode(message).finish()) };
}

/** The message in an envelope; undefined for one of a type that is not known here, and for one that is damaged. */
export function messageOf({ typeUrl, value }: Any): object | undefined {
  const name = typeUrl.startsWith(PACKAGE) ? typeUrl.slice(PACKAGE.length) : "";
  if (!Object.hasOwn(CODECS, name)) return undefined;
  try {
    return CODECS[name as keyof Messages].decode(value);
  } catch {
    return undefined;
  }
}
