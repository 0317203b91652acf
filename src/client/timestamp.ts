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
export function formatTimestamp({ seconds, nanos }: Timestamp): string {
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, -".000Z".length);
  const fraction = nanos === 0 ? "" : `.${String(nanos).padStart(9, "0").replace(/0+$/, "")}`;
  return `${whole}${fraction}Z`;
}

/**
 * Reads RFC3339 with up to nine digits of a second's fraction.
 *
 * @throws RangeError that quotes the text.
 */
export function parseTimestamp(text: string): Timestamp {
  const match = /^(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?([Zz]|[-+]\d\d:\d\d)$/.exec(text);
  const ms = match ? Date.parse(`${match[1]!.toUpperCase()}${match[3]!.toUpperCase()}`) : Number.NaN;
  if (!match || Number.isNaN(ms))
    throw new RangeError(`invalid time "${text}", expected RFC3339 like 2016-11-05T10:21:00.5Z`);
  return { seconds: BigInt(ms / 1000), nanos: Number((match[2] ?? "").padEnd(9, "0")) };
}
