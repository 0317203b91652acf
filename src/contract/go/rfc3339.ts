const NANOSECONDS = 1_000_000_000n;

/** Splits nanoseconds since the epoch as protobuf's Timestamp has them: `nanos` counts forward, before 1970 too. */
export function secondsAndNanos(time: bigint): { seconds: bigint; nanos: number } {
  const nanos = ((time % NANOSECONDS) + NANOSECONDS) % NANOSECONDS;
  return { seconds: (time - nanos) / NANOSECONDS, nanos: Number(nanos) };
}

/** Nanoseconds since the epoch. */
export function nanosecondsOf({ seconds, nanos }: { seconds: bigint; nanos: number }): bigint {
  return seconds * NANOSECONDS + BigInt(nanos);
}

/** Go's RFC3339Nano in UTC: `2016-11-05T10:21:00.123456789Z`, without trailing zeros. `time`: nanoseconds since the epoch. */
export function formatRfc3339(time: bigint): string {
  const { seconds, nanos } = secondsAndNanos(time);
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, -".000Z".length);
  const fraction = nanos === 0 ? "" : `.${String(nanos).padStart(9, "0").replace(/0+$/, "")}`;
  return `${whole}${fraction}Z`;
}

/**
 * Reads RFC 3339 as Go does: what follows the ninth digit of a second's fraction is cut off.
 * @returns nanoseconds since the epoch
 * @throws RangeError that quotes the text
 */
export function parseRfc3339(text: string): bigint {
  const match = /^(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:[.,](\d{1,9})\d*)?([Zz]|[-+]\d\d:\d\d)$/.exec(text);
  const ms = match ? Date.parse(`${match[1]!.toUpperCase()}${match[3]!.toUpperCase()}`) : Number.NaN;
  if (!match || Number.isNaN(ms))
    throw new RangeError(`invalid time "${text}", expected RFC3339 like 2016-11-05T10:21:00.5Z`);
  return BigInt(ms) * 1_000_000n + BigInt((match[2] ?? "").padEnd(9, "0"));
}
