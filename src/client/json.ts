import { formatTimestamp } from "./timestamp.js";

/**
 * Has JSON.stringify take the messages of the daemon, and all that is made of them: a timestamp is shown as RFC 3339, a whole number that a
 * JavaScript number cannot hold as a text. A message's own keys stay what they are.
 */
export function withJson<T>(message: T): T {
  if (typeof message !== "object" || message === null) return message;
  const values = Object.values(message);
  if (values.some((value) => typeof value === "bigint"))
    Object.defineProperty(message, "toJSON", { value: toJson, configurable: true });
  for (const value of values) if (typeof value === "object") withJson(value);
  return message;
}

function toJson(this: Record<string, unknown>): unknown {
  const { seconds, nanos, ...rest } = this;
  if (typeof seconds === "bigint" && typeof nanos === "number" && Object.keys(rest).length === 0)
    return formatTimestamp({ seconds, nanos });
  return Object.fromEntries(
    Object.entries(this).map(([key, value]) => [key, typeof value === "bigint" ? number(value) : value]),
  );
}

function number(value: bigint): number | string {
  return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
}
