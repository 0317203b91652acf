import { expect, test } from "vitest";
import type { v0 } from "../../client/index.js";
import { type Sample, statsTable } from "./stats-table.js";

/** The fields that the table reads. */
function partly(stats: object): v0.wire.StatsResponse {
  return stats as v0.wire.StatsResponse;
}

function sample(seconds: number, cpu: bigint): Sample {
  const stats = partly({
    timestamp: { seconds: BigInt(seconds), nanos: 500_000_000 },
    network_stats: [
      { name: "lo", rx_bytes: 1n, Tx_bytes: 1n },
      { name: "eth0", rx_bytes: 2047n, Tx_bytes: 999n },
    ],
    cgroup_stats: {
      cpu_stats: { cpu_usage: { total_usage: cpu } },
      memory_stats: { usage: { usage: 1536n, limit: 9223372036854771712n } },
      blkio_stats: {
        io_service_bytes_recursive: [
          { op: "Read", value: 1048576n },
          { op: "Write", value: 10n },
          { op: "Sync", value: 1048586n },
        ],
      },
      pids_stats: { current: 3n },
    },
  });
  return { id: "web", status: "running", stats };
}

const cells = (line: string | undefined) => line?.split(/ {2,}/);

test("a line for each container; the CPU's share needs two samples", () => {
  const machine = { cpus: 2, memory: 2048n };
  const first = sample(10, 1_000_000_000n);
  const [headings, before] = statsTable([first], new Map(), machine);
  expect(cells(headings)).toEqual([
    ...["ID", "STATUS", "CPU %", "MEMORY / LIMIT", "PIDS", "NET IN / OUT", "BLOCK IN / OUT"],
  ]);
  const rest = ["1.5 KiB / 2.0 GiB", "3", "2.0 KiB / 1000 B", "1.0 MiB / 10 B"];
  expect(cells(before)).toEqual(["web", "running", "-", ...rest]);
  const [, after] = statsTable([sample(12, 2_500_000_000n)], new Map([["web", first]]), machine);
  expect(cells(after)).toEqual(["web", "running", "75.0", ...rest]);
});

test("what is not known is a dash", () => {
  const [, line] = statsTable(
    [{ id: "web", status: "running", stats: partly({ network_stats: [] }) }],
    new Map(),
    undefined,
  );
  expect(cells(line)).toEqual(["web", "running", "-", "-", "-", "-", "-"]);
});
