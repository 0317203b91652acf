import { expect, test } from "vitest";
import { StatsResponse } from "../../proto/containerd.js";
import { emptyStats, type ResourceCounter } from "../../system/cgroup/stats.js";
import { statsMessage } from "./stats.js";

/** Every number is another, so that none can be in another's place. */
let last = 0n;
const number = () => ++last;
const counter = (): ResourceCounter => ({ usage: number(), peak: number(), limitHits: number(), limit: number() });
const device = () => [{ major: 8, minor: Number(number()), operation: "Read", value: number() }];

test("each figure has its place in the message", () => {
  const message = statsMessage({
    network: [
      {
        name: "eth0",
        received: { bytes: number(), packets: number(), errors: number(), dropped: number() },
        sent: { bytes: number(), packets: number(), errors: number(), dropped: number() },
      },
    ],
    cgroup: {
      version: 1,
      cpu: {
        total: number(),
        perCpu: [number(), number()],
        user: number(),
        kernel: number(),
        periods: number(),
        throttledPeriods: number(),
        throttledTime: number(),
        host: number(),
      },
      memory: {
        ...emptyStats().memory,
        cache: number(),
        ram: counter(),
        ramAndSwap: counter(),
        kernel: counter(),
        lines: { rss: number() },
      },
      io: {
        bytes: device(),
        requests: device(),
        queued: device(),
        serviceTime: device(),
        waitTime: device(),
        merged: device(),
        time: device(),
        sectors: device(),
      },
      hugePages: { "2MB": counter() },
      pids: { current: number(), limit: number() },
    },
    timestamp: 1_700_000_000_000_000_005n,
  });
  const entry = (minor: bigint, value: bigint) => [{ major: 8n, minor, op: "Read", value }];
  const expected: StatsResponse = {
    network_stats: [
      {
        name: "eth0",
        rx_bytes: 1n,
        rx_Packets: 2n,
        Rx_errors: 3n,
        Rx_dropped: 4n,
        Tx_bytes: 5n,
        Tx_packets: 6n,
        Tx_errors: 7n,
        Tx_dropped: 8n,
      },
    ],
    cgroup_stats: {
      cpu_stats: {
        cpu_usage: {
          total_usage: 9n,
          percpu_usage: [10n, 11n],
          usage_in_usermode: 12n,
          usage_in_kernelmode: 13n,
        },
        throttling_data: { periods: 14n, throttled_periods: 15n, throttled_time: 16n },
        system_usage: 17n,
      },
      memory_stats: {
        cache: 18n,
        usage: { usage: 19n, max_usage: 20n, failcnt: 21n, limit: 22n },
        swap_usage: { usage: 23n, max_usage: 24n, failcnt: 25n, limit: 26n },
        kernel_usage: { usage: 27n, max_usage: 28n, failcnt: 29n, limit: 30n },
        stats: { rss: 31n },
      },
      blkio_stats: {
        io_service_bytes_recursive: entry(32n, 33n),
        io_serviced_recursive: entry(34n, 35n),
        io_queued_recursive: entry(36n, 37n),
        io_service_time_recursive: entry(38n, 39n),
        io_wait_time_recursive: entry(40n, 41n),
        io_merged_recursive: entry(42n, 43n),
        io_time_recursive: entry(44n, 45n),
        sectors_recursive: entry(46n, 47n),
      },
      hugetlb_stats: { "2MB": { usage: 48n, max_usage: 49n, failcnt: 50n, limit: 51n } },
      pids_stats: { current: 52n, limit: 53n },
    },
    timestamp: { seconds: 1_700_000_000n, nanos: 5 },
  };
  expect(message).toEqual(expected);
});

test("of a container that nothing is counted of, every part goes out all the same: old Docker Engines look into them unseen", () => {
  const message = statsMessage({ network: [], cgroup: emptyStats(), timestamp: 0n });
  const { cgroup_stats } = StatsResponse.decode(StatsResponse.encode(message).finish());
  expect(cgroup_stats).toMatchObject({
    cpu_stats: { cpu_usage: {}, throttling_data: {} },
    memory_stats: { usage: {}, swap_usage: {}, kernel_usage: {} },
    blkio_stats: {},
    pids_stats: {},
  });
});
