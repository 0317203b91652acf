import type { Event } from "../events/event.js";

interface Payloads {
  "/snapshot/prepare": { parent: string };
  "/snapshot/commit": { name: string };
  "/snapshot/remove": Record<string, never>;
}

/** What happens to a snapshot, whose key is the event's object. */
export type SnapshotEvent = { [Topic in keyof Payloads]: Event<Topic, Payloads[Topic]> }[keyof Payloads];
