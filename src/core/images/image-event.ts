import type { Event } from "../events/event.js";
import type { Labels } from "../metadata/labels.js";

interface Payloads {
  "/images/create": { labels: Labels };
  "/images/update": { labels: Labels };
  "/images/delete": Record<string, never>;
}

/** What happens to the record of an image, whose name is the event's object. */
export type ImageEvent = { [Topic in keyof Payloads]: Event<Topic, Payloads[Topic]> }[keyof Payloads];
