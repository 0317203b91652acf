import { monitorEventLoopDelay } from "node:perf_hooks";
import { Gauge, type Registry } from "prom-client";

/** In ms: how often the lag is measured; one that is shorter is not seen. */
const RESOLUTION = 20;
const NANOSECONDS_PER_MS = 1e6;
const MS_PER_SECOND = 1000;

const PERCENTILES = [50, 90, 99] as const;

/**
 * How late the event loop was, since the last scrape, under prom-client's names. prom-client's own figures hold the interval of the
 * measurement too: with them an idle loop is 20 ms late.
 */
export function addEventLoopLag(registry: Registry): void {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION });
  histogram.enable();
  const late = (nanoseconds: number) =>
    histogram.count === 0 ? 0 : Math.max(0, nanoseconds / NANOSECONDS_PER_MS - RESOLUTION) / MS_PER_SECOND;
  const gauge = (name: string, what: string, read: () => number) => {
    const full = `nodejs_eventloop_lag_${name}_seconds`;
    registry.removeSingleMetric(full);
    new Gauge({
      name: full,
      help: `${what} of the event loop's lag since the last scrape.`,
      registers: [registry],
      collect() {
        this.set(read());
      },
    });
  };
  gauge("min", "Minimum", () => late(histogram.min));
  gauge("max", "Maximum", () => late(histogram.max));
  gauge("mean", "Mean", () => late(histogram.mean));
  for (const part of PERCENTILES) gauge(`p${part}`, `${part}th percentile`, () => late(histogram.percentile(part)));
  gauge("stddev", "Standard deviation", () => {
    const deviation = histogram.count === 0 ? 0 : histogram.stddev / NANOSECONDS_PER_MS / MS_PER_SECOND;
    // The last of them: gauges are read in the order in which they were made, without a pause.
    histogram.reset();
    return deviation;
  });
}
