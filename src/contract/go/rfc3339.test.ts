import fc from "fast-check";
import { expect, test } from "vitest";
import { formatTimestamp, parseTimestamp } from "./rfc3339.js";

test("as Go's RFC3339Nano", () => {
  expect(formatTimestamp(0n)).toBe("1970-01-01T00:00:00Z");
  expect(formatTimestamp(1478250001_123400000n)).toBe("2016-11-04T09:00:01.1234Z");
});

test("every time comes back as it was", () => {
  fc.assert(
    fc.property(fc.bigInt(0n, 4_000_000_000_000_000_000n), (time) => parseTimestamp(formatTimestamp(time)) === time),
  );
});

test.each(["", "yesterday", "2016-11-04", "2016-13-04T09:00:00Z", "2016-11-04T09:00:00"])("refuses %j", (text) => {
  expect(() => parseTimestamp(text)).toThrow(`invalid timestamp ${JSON.stringify(text)}`);
});
