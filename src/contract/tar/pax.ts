/** Records of POSIX' extended headers: `LENGTH KEY=VALUE\n`. */
import type { Bytes } from "./archive-entry.js";
import { ArchiveError } from "./archive-error.js";

const SPACE = 0x20;
const NEWLINE = 0x0a;
const EQUALS = 0x3d;

/** What the records of a header say, in their order; a key may come twice. */
export function paxRecords(data: Buffer): [key: Bytes, value: Buffer][] {
  const records: [Bytes, Buffer][] = [];
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(SPACE, at);
    const length = space === -1 || space - at > 10 ? Number.NaN : decimal(data.toString("latin1", at, space));
    const end = at + length;
    const equals = data.indexOf(EQUALS, space);
    // Also false for what is no number.
    if (!(end <= data.length && equals !== -1 && equals < end - 1 && data[end - 1] === NEWLINE))
      throw new ArchiveError("an extended header that can't be read");
    records.push([data.toString("latin1", space + 1, equals), data.subarray(equals + 1, end - 1)]);
    at = end;
  }
  return records;
}

/** A number without sign; NaN for anything else, or one that is too large to be exact. */
export function decimal(text: string): number {
  const number = /^[0-9]{1,16}$/.test(text) ? Number(text) : Number.NaN;
  return number <= Number.MAX_SAFE_INTEGER ? number : Number.NaN;
}

/** A time in seconds, with a fraction: whole seconds, rounded down, and nanoseconds; undefined when it is none. */
export function paxTime(text: string): { seconds: number; nanoseconds: number } | undefined {
  const [, sign, digits = "0", fraction = ""] = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(text) ?? [];
  if (sign === undefined) return undefined;
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, "0"));
  const seconds = Number(digits);
  if (sign === "") return { seconds, nanoseconds };
  return nanoseconds === 0
    ? { seconds: 0 - seconds, nanoseconds: 0 }
    : { seconds: -seconds - 1, nanoseconds: 1e9 - nanoseconds };
}
