const UNITS_IN_MS: ReadonlyMap<string, number> = new Map([
  ["ns", 1e-6],
  ["us", 1e-3],
  ["\u00b5s", 1e-3], // micro sign
  ["\u03bcs", 1e-3], // Greek letter mu
  ["ms", 1],
  ["s", 1e3],
  ["m", 60e3],
  ["h", 3600e3],
]);

const WHOLE_PATTERN = /^[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))+$/;
const PART_PATTERN = /(\d+\.?\d*|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/g;

/** Go counts durations in int64 nanoseconds; what does not fit there is refused here too. */
const MAX_MS = 2 ** 63 / 1e6;

/**
 * Reads a duration as Go's flags take it: "0", "30s", "1h30m", "1.5h", "300ms", "-1s".
 *
 * @returns milliseconds, with a fraction for microseconds and nanoseconds.
 * @throws Error `invalid duration "<text>"`.
 * @example parseGoDuration("1m30s") // 90000
 */
export function parseGoDuration(text: string): number {
  if (/^[-+]?0$/.test(text)) return 0;
  if (!WHOLE_PATTERN.test(text)) throw new Error(`invalid duration "${text}"`);
  let ms = 0;
  for (const [, amount, unit] of text.matchAll(PART_PATTERN)) ms += Number(amount) * UNITS_IN_MS.get(unit!)!;
  if (ms >= MAX_MS) throw new Error(`invalid duration "${text}"`);
  return text.startsWith("-") ? 0 - ms : ms;
}
