const unitsInMs: ReadonlyMap<string, number> = new Map([
  ["ns", 1e-6],
  ["us", 1e-3],
  ["\u00b5s", 1e-3], // micro sign
  ["\u03bcs", 1e-3], // Greek letter mu
  ["ms", 1],
  ["s", 1e3],
  ["m", 60e3],
  ["h", 3600e3],
]);

const wholePattern = /^[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|\u00b5s|\u03bcs|ms|s|m|h))+$/;
const partPattern = /(\d+\.?\d*|\.\d+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)/g;

/** Go counts durations in int64 nanoseconds; what does not fit there is refused here too. */
const longestMs = 2 ** 63 / 1e6;

/**
 * Reads a duration as Go's flags take it: "0", "30s", "1h30m", "1.5h", "300ms", "-1s".
 *
 * @returns milliseconds, with a fraction for microseconds and nanoseconds.
 * @throws Error `invalid duration "<text>"`.
 * @example parseGoDuration("1m30s") // 90000
 */
export function parseGoDuration(text: string): number {
  if (/^[-+]?0$/.test(text)) return 0;
  if (!wholePattern.test(text)) throw new Error(`invalid duration "${text}"`);
  let ms = 0;
  for (const [, amount, unit] of text.matchAll(partPattern)) ms += Number(amount) * unitsInMs.get(unit!)!;
  if (ms >= longestMs) throw new Error(`invalid duration "${text}"`);
  return text.startsWith("-") ? 0 - ms : ms;
}

/**
 * Writes milliseconds as Go prints a duration: "0s", "300ms", "1.5s", "1m0s", "1h30m0s".
 *
 * @example formatGoDuration(90_000) // "1m30s"
 */
export function formatGoDuration(ms: number): string {
  const sign = ms < 0 ? "-" : "";
  const nanos = BigInt(Math.round(Math.abs(ms) * 1e6));
  if (nanos === 0n) return "0s";
  if (nanos < 1_000n) return `${sign}${nanos}ns`;
  if (nanos < 1_000_000n) return `${sign}${decimal(nanos, 3)}\u00b5s`;
  if (nanos < 1_000_000_000n) return `${sign}${decimal(nanos, 6)}ms`;
  const minutes = nanos / 60_000_000_000n;
  const seconds = `${decimal(nanos % 60_000_000_000n, 9)}s`;
  if (minutes === 0n) return sign + seconds;
  const hours = minutes / 60n;
  return hours === 0n ? `${sign}${minutes}m${seconds}` : `${sign}${hours}h${minutes % 60n}m${seconds}`;
}

/** `value` / 10^places without trailing zeros. */
function decimal(value: bigint, places: number): string {
  const digits = value.toString().padStart(places + 1, "0");
  const fraction = digits.slice(-places).replace(/0+$/, "");
  return digits.slice(0, -places) + (fraction && `.${fraction}`);
}
