import { describe, expect, test } from "vitest";
import { parseGoDuration } from "./duration.js";

describe("parseGoDuration", () => {
  test.each([
    ["0", 0],
    ["-0", 0],
    ["+0", 0],
    ["0s", 0],
    ["30s", 30_000],
    ["2m", 120_000],
    ["1h30m", 5_400_000],
    ["1.5h", 5_400_000],
    ["300ms", 300],
    ["100us", 0.1],
    ["100\u00b5s", 0.1],
    ["100\u03bcs", 0.1],
    ["5ns", 5e-6],
    ["-1s", -1_000],
    ["+5s", 5_000],
    [".5s", 500],
    ["1.s", 1_000],
    ["1m1m", 120_000],
    ["2540400h", 2_540_400 * 3_600_000],
  ])("%s", (text, ms) => {
    expect(parseGoDuration(text)).toBeCloseTo(ms, 9);
  });

  test.each(["", "5", "s", ".s", "-", "1 s", " 1s", "1s ", "1d", "1S", "--1s", "1s-1s", "1e3s", "NaN", "2562048h"])(
    "refuses %j",
    (text) => {
      expect(() => parseGoDuration(text)).toThrow(`invalid duration "${text}"`);
    },
  );
});
