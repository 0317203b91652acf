import type { Event } from "../events/event.js";
import type { Labels } from "./labels.js";

interface Payloads {
  "/namespaces/create": { labels: Labels };
  "/namespaces/update": { labels: Labels };
  "/namespaces/delete": Record<string, never>;
}

/** What happens to a namespace, whose name is the event's object. */
export type NamespaceEvent = { [Topic in keyof Payloads]: Event<Topic, Payloads[Topic]> }[keyof Payloads];
