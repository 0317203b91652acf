import type { Event } from "../events/event.js";

interface Payloads {
  "/content/create": { size: number };
  "/content/delete": Record<string, never>;
}

/** What happens to content of a namespace; its digest is the event's object. */
export type ContentEvent = { [Topic in keyof Payloads]: Event<Topic, Payloads[Topic]> }[keyof Payloads];
