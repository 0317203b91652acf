import fc from "fast-check";
import { expect, test } from "vitest";
import { compareTimestamps, formatTimestamp, parseTimestamp, toDate, toTimestamp } from "./timestamp.js";

test("RFC 3339, to the nanosecond", () => {
  expect(formatTimestamp({ seconds: 1478341260n, nanos: 123456789 })).toBe("2016-11-05T10:21:00.123456789Z");
  expect(() => parseTimestamp("yesterday")).toThrow(RangeError);
});

test("what is written is read back, to the nanosecond", () => {
  const timestamps = fc.record({
    seconds: fc.bigInt({ min: -62135596800n, max: 253402300799n }),
    nanos: fc.integer({ min: 0, max: 999_999_999 }),
  });
  fc.assert(
    fc.property(timestamps, (timestamp) => {
      expect(parseTimestamp(formatTimestamp(timestamp))).toEqual(timestamp);
    }),
  );
});

test("Dates and milliseconds", () => {
  expect(toTimestamp(new Date(1500))).toEqual({ seconds: 1n, nanos: 500_000_000 });
  expect(toTimestamp(-1)).toEqual({ seconds: -1n, nanos: 999_000_000 });
  expect(toDate({ seconds: -1n, nanos: 999_000_000 })).toEqual(new Date(-1));
  expect(() => toTimestamp(new Date("x"))).toThrow(RangeError);
  expect(compareTimestamps({ seconds: 1n, nanos: 2 }, { seconds: 1n, nanos: 3 })).toBeLessThan(0);
});
