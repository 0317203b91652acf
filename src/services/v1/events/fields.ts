import type { Envelope } from "../../../proto/containerd/types/event.js";
import type { Any } from "../../../proto/google/protobuf/any.js";
import { entry, type Field, present } from "../filters/filter.js";
import { messageOf } from "./messages.js";

const messages = new WeakMap<Any, { message: object | undefined }>();

/** The fields of an envelope and of the message in it, as filters name them: `topic`, `event.container_id`, `event.labels."a.b"`. */
export function fieldOf({ namespace, topic, event }: Envelope): Field {
  return ([name, ...path]) => {
    if (name === "namespace") return present(namespace);
    if (name === "topic") return present(topic);
    if (name !== "event" || event === undefined) return undefined;
    // Decoded once for all filters of all subscribers.
    let decoded = messages.get(event);
    if (decoded === undefined) {
      decoded = { message: messageOf(event) };
      messages.set(event, decoded);
    }
    return fieldOfMessage(decoded.message, path);
  };
}

/** As in containerd 1.x: texts, flags that are set, labels, and these of messages within; no numbers, no times. */
function fieldOfMessage(message: unknown, [name = "", ...path]: readonly string[]): string | undefined {
  const own = name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  if (typeof message !== "object" || message === null || !Object.hasOwn(message, own)) return undefined;
  const value: unknown = message[own as keyof typeof message];
  if (own === "labels") return entry(value as Record<string, string>, path);
  if (path.length > 0) return fieldOfMessage(value, path);
  if (typeof value === "string") return present(value);
  return value === true ? "true" : undefined;
}
