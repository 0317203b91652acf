import { secondsAndNanos } from "../../../contract/go/rfc3339.js";
import { type LogLine, linesIn } from "../../../contract/log-lines.js";

/** In seconds since the epoch: the years 0 to 9999, which have four digits. */
const FIRST_SECOND = -62_167_219_200n;
const LAST_SECOND = 253_402_300_799n;

/** A time, in nanoseconds since the epoch, as lines have it; what no line can have is before, or behind, all of them. */
export function timeText(time: bigint): string {
  const { seconds, nanos } = secondsAndNanos(time);
  if (seconds < FIRST_SECOND) return "";
  if (seconds > LAST_SECOND) return "~";
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, -".000Z".length);
  return `${whole}.${String(nanos).padStart(9, "0")}Z`;
}

/** Which lines of a log are wanted, by the times at which they begin. What goes on with a line comes, or does not, as its beginning. */
export class TimeFilter {
  readonly #since: string;
  readonly #until: string;
  /** Of streams that are within a line: whether it is wanted. */
  readonly #within = new Map<string, boolean>();

  /** @param since,until nanoseconds since the epoch; undefined: no limit */
  constructor(since: bigint | undefined, until: bigint | undefined) {
    this.#since = since === undefined ? "" : timeText(since);
    this.#until = until === undefined ? "~" : timeText(until);
  }

  /** What of some whole lines is wanted, in runs of bytes. */
  runs(data: Buffer): { start: number; end: number }[] {
    const runs: { start: number; end: number }[] = [];
    for (const line of linesIn(data)) {
      if (!this.#wants(line)) continue;
      const last = runs.at(-1);
      if (last?.end === line.start) last.end = line.end;
      else runs.push({ start: line.start, end: line.end });
    }
    return runs;
  }

  #wants({ time, stream, isPart, isGap }: LogLine): boolean {
    if (isGap) this.#within.clear();
    const isWanted = this.#within.get(stream) ?? (this.#since <= time && time <= this.#until);
    if (isPart) this.#within.set(stream, isWanted);
    else this.#within.delete(stream);
    return isWanted;
  }
}
