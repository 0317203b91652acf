import { formatRfc3339, parseRfc3339 } from "../../../contract/go/rfc3339.js";
import type { EventLines } from "../../events/event.js";
import { parseJson, stringifyJson } from "../../files/json.js";
import type { TaskEvent } from "../task-event.js";

/** The lines of the log of namespaces: the events as they are. */
export const namespacedEventLines: EventLines<TaskEvent> = { encode, decode };

/** Which fields of a payload are more than a double can hold; a small one is written like any other. */
const LARGE = ["exitedAt", "memoryPeak"] as const;

function encode({ time, ...event }: TaskEvent): string {
  return `${stringifyJson({ time: formatRfc3339(time), ...event })}\n`;
}

function decode(text: string): TaskEvent | undefined {
  try {
    const line = parseJson(text) as Record<string, unknown>;
    const { time, namespace, topic, object, payload } = line;
    const texts = [time, namespace, topic, object];
    if (!texts.every((value) => typeof value === "string")) return undefined;
    if (typeof payload !== "object" || payload === null) return undefined;
    const fields = payload as Record<string, unknown>;
    if (fields.process !== undefined && typeof fields.process !== "string") return undefined;
    for (const name of LARGE) if (fields[name] !== undefined) fields[name] = BigInt(fields[name] as number);
    return { namespace, topic, object, time: parseRfc3339(time as string), payload } as TaskEvent;
  } catch {
    return undefined;
  }
}
