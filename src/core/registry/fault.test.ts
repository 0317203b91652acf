import { expect, test } from "vitest";
import { parseRetryAfter, shownUrl } from "./fault.js";

const now = Date.parse("2026-01-01T00:00:00Z");

test.each([
  [undefined, undefined],
  ["", undefined],
  ["soon", undefined],
  ["0", 0],
  ["7", 7000],
  [" 7 ", 7000],
  ["3600", 60_000],
  ["9".repeat(400), 60_000],
  ["-5", 0],
  ["Thu, 01 Jan 2026 00:00:05 GMT", 5000],
  ["Wed, 31 Dec 2025 00:00:00 GMT", 0],
  ["Thu, 01 Jan 2099 00:00:00 GMT", 60_000],
])("Retry-After: %s is %s ms", (text, wait) => {
  expect(parseRetryAfter(text, now)).toBe(wait);
});

test("a URL is shown without what may be secret in it", () => {
  expect(shownUrl(new URL("https://u:p@a.b:5/c/d?signature=s#f"))).toBe("https://a.b:5/c/d");
});
