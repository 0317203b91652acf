import type { Event } from "../events/event.js";
import type { ContainerRecord } from "./container-record.js";

interface Payloads {
  "/containers/create": Pick<ContainerRecord, "image" | "runtime">;
  "/containers/update": Pick<ContainerRecord, "image" | "labels" | "snapshotKey">;
  "/containers/delete": Record<string, never>;
}

/** What happens to the record of a container, whose id is the event's object. */
export type ContainerEvent = { [Topic in keyof Payloads]: Event<Topic, Payloads[Topic]> }[keyof Payloads];
