import fc from "fast-check";
import { expect, test } from "vitest";
import { formatRfc3339, nanosecondsOf, parseRfc3339, secondsAndNanos } from "./rfc3339.js";

test("as Go's RFC3339Nano, without trailing zeros", () => {
  expect(formatRfc3339(0n)).toBe("1970-01-01T00:00:00Z");
  expect(formatRfc3339(1478250001_123400000n)).toBe("2016-11-04T09:00:01.1234Z");
  expect(formatRfc3339(1478341260_123456789n)).toBe("2016-11-05T10:21:00.123456789Z");
  expect(formatRfc3339(-1n)).toBe("1969-12-31T23:59:59.999999999Z");
});

test("other time zones", () => {
  expect(formatRfc3339(parseRfc3339("2016-11-05T12:21:00.000000001+02:00"))).toBe("2016-11-05T10:21:00.000000001Z");
});

test("digits after the ninth are cut off", () => {
  expect(parseRfc3339("1970-01-01T00:00:00.1234567899Z")).toBe(123456789n);
});

test("every time comes back as it was, also when it is split", () => {
  const times = fc.bigInt(-62_135_596_800_000_000_000n, 253_402_300_799_999_999_999n);
  fc.assert(
    fc.property(times, (time) => {
      expect(parseRfc3339(formatRfc3339(time))).toBe(time);
      expect(nanosecondsOf(secondsAndNanos(time))).toBe(time);
    }),
  );
});

test.each(["", "yesterday", "2016-11-04", "2016-13-04T09:00:00Z", "2016-11-04T09:00:00"])("refuses %j", (text) => {
  expect(() => parseRfc3339(text)).toThrow(`invalid time "${text}"`);
});
