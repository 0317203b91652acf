import { formatRfc3339, nanosecondsOf, parseRfc3339, secondsAndNanos } from "../contract/go/rfc3339.js";
import type { Timestamp } from "../proto/google/protobuf/timestamp.js";
import { type Check, wrong } from "./options/option-checks.js";

export type { Timestamp };

/** A moment: a Date, milliseconds since 1970, or a timestamp to the nanosecond as events carry it. */
export type Moment = Date | number | Timestamp;

export const momentCheck: Check = (value, name) => {
  const what = "a Date, milliseconds since 1970, or a timestamp { seconds: bigint, nanos: number }";
  if (typeof value === "number" || value instanceof Date) {
    if (!Number.isFinite(Number(value))) throw new RangeError(wrong(name, what, value).message);
    return;
  }
  const { seconds, nanos } = (value ?? {}) as Partial<Timestamp>;
  if (typeof seconds !== "bigint" || typeof nanos !== "number") throw wrong(name, what, value);
};

/** @throws TypeError for what is no moment, RangeError for an invalid Date or a number that is none. */
export function toTimestamp(moment: Moment): Timestamp {
  momentCheck(moment, "moment");
  if (typeof moment === "object" && "seconds" in moment) return moment;
  const ms = Number(moment);
  const seconds = Math.floor(ms / 1000);
  return { seconds: BigInt(seconds), nanos: Math.round((ms - seconds * 1000) * 1e6) };
}

/** To the millisecond, which is all a Date holds. */
export function toDate({ seconds, nanos }: Timestamp): Date {
  return new Date(Number(seconds) * 1000 + Math.floor(nanos / 1e6));
}

/** Negative when `a` is earlier than `b`, 0 when they are the same. */
export function compareTimestamps(a: Timestamp, b: Timestamp): number {
  return a.seconds === b.seconds ? a.nanos - b.nanos : a.seconds < b.seconds ? -1 : 1;
}

/** Go's RFC3339Nano in UTC: `2016-11-05T10:21:00.123456789Z`, without trailing zeros. */
export function formatTimestamp(timestamp: Timestamp): string {
  return formatRfc3339(nanosecondsOf(timestamp));
}

/**
 * Reads RFC3339 to the nanosecond.
 *
 * @throws RangeError that quotes the text.
 */
export function parseTimestamp(text: string): Timestamp {
  return secondsAndNanos(parseRfc3339(text));
}
