/** How many of the last durations are kept: what percentiles are computed from. */
const KEPT = 1024;

/** What a {@link Timer} has seen; durations in ms, 0 when there were none. */
export interface TimerSummary {
  /** All there ever were. */
  count: number;
  sum: number;
  /** These and the percentiles: of the last 1024. */
  min: number;
  max: number;
  mean: number;
  standardDeviation: number;
  /** The duration that a part of them (0.5: half) does not exceed. */
  percentile(part: number): number;
}

/** Durations of one kind of work. Taking one in costs an addition and a store; whoever wants figures pays for them. */
export class Timer {
  #count = 0;
  #sum = 0;
  readonly #last = new Float64Array(KEPT);
  #listener: ((duration: number) => void) | undefined;

  /** @param duration in ms */
  observe(duration: number): void {
    this.#last[this.#count++ % KEPT] = duration;
    this.#sum += duration;
    this.#listener?.(duration);
  }

  /** From `began`, a time of performance.now(), to now. */
  since(began: number): void {
    this.observe(performance.now() - began);
  }

  /** Calls `listener` with each duration, in ms, from now on; there is one listener at most. */
  listen(listener: (duration: number) => void): void {
    this.#listener = listener;
  }

  summary(): TimerSummary {
    const count = this.#count;
    const last = this.#last.slice(0, Math.min(count, KEPT)).sort();
    const mean = last.length === 0 ? 0 : last.reduce((sum, duration) => sum + duration, 0) / last.length;
    const variance =
      last.length === 0 ? 0 : last.reduce((sum, duration) => sum + (duration - mean) ** 2, 0) / last.length;
    return {
      count,
      sum: this.#sum,
      min: last[0] ?? 0,
      max: last.at(-1) ?? 0,
      mean,
      standardDeviation: Math.sqrt(variance),
      percentile: (part) => last[Math.max(0, Math.ceil(part * last.length) - 1)] ?? 0,
    };
  }
}
