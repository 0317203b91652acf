const NANOSECONDS = 1_000_000_000n;

/** RFC 3339 in UTC with as many digits of the second as it takes, as Go's RFC3339Nano. `time`: nanoseconds since the epoch. */
export function formatTimestamp(time: bigint): string {
  const seconds = time / NANOSECONDS;
  const fraction = (time % NANOSECONDS).toString().padStart(9, "0").replace(/0+$/, "");
  const date = new Date(Number(seconds) * 1000).toISOString().slice(0, "2026-01-01T00:00:00".length);
  return `${date}${fraction && `.${fraction}`}Z`;
}

/** Nanoseconds since the epoch. Throws Error for a text that is no RFC 3339 time. */
export function parseTimestamp(text: string): bigint {
  const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-]\d\d:\d\d)$/.exec(text);
  const milliseconds = match ? Date.parse(`${match[1]}${match[3]}`) : Number.NaN;
  if (Number.isNaN(milliseconds)) throw new Error(`invalid timestamp ${JSON.stringify(text)}`);
  return BigInt(milliseconds) * 1_000_000n + BigInt((match![2] ?? "").padEnd(9, "0"));
}
