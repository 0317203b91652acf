import type { v0 } from "../../client/index.js";
import { printable } from "../../contract/terminal/printable.js";
import { bytes } from "../output/bytes.js";

/** What a container used at one moment. */
export interface Sample {
  id: string;
  status: string;
  stats: v0.wire.StatsResponse;
}

const HEADINGS = ["ID", "STATUS", "CPU %", "MEMORY / LIMIT", "PIDS", "NET IN / OUT", "BLOCK IN / OUT"];

/**
 * A table for people, one line a container. CPU is the share of one processor since the sample before; "-" stands for
 * what is not known (yet).
 */
export function statsTable(
  samples: readonly Sample[],
  before: ReadonlyMap<string, Sample>,
  machine: v0.wire.Machine | undefined,
): string[] {
  const rows = [HEADINGS, ...samples.map((sample) => row(sample, before.get(sample.id), machine))];
  const widths = HEADINGS.map((_, column) => Math.max(...rows.map((cells) => cells[column]!.length)));
  return rows.map((cells) =>
    cells
      // Names to the left, amounts to the right.
      .map((text, column) => (column < 2 ? text.padEnd(widths[column]!) : text.padStart(widths[column]!)))
      .join("  ")
      .trimEnd(),
  );
}

function row(
  { id, status, stats }: Sample,
  before: Sample | undefined,
  machine: v0.wire.Machine | undefined,
): string[] {
  const { memory_stats, pids_stats, blkio_stats } = stats.cgroup_stats ?? {};
  const limit = memoryLimit(memory_stats?.usage?.limit ?? 0n, machine);
  const network = stats.network_stats;
  const received = sum(network.map(({ rx_bytes }) => rx_bytes));
  const sent = sum(network.map(({ Tx_bytes }) => Tx_bytes));
  return [
    printable(id),
    printable(status),
    cpuShare(stats, before?.stats),
    memory_stats ? `${bytes(memory_stats.usage?.usage ?? 0n)} / ${limit === 0n ? "-" : bytes(limit)}` : "-",
    pids_stats ? String(pids_stats.current) : "-",
    network.length > 0 ? `${bytes(received)} / ${bytes(sent)}` : "-",
    blkio_stats ? `${bytes(transferred(blkio_stats, "read"))} / ${bytes(transferred(blkio_stats, "write"))}` : "-",
  ];
}

function cpuShare(now: v0.wire.StatsResponse, before: v0.wire.StatsResponse | undefined): string {
  const used = now.cgroup_stats?.cpu_stats?.cpu_usage?.total_usage;
  const usedBefore = before?.cgroup_stats?.cpu_stats?.cpu_usage?.total_usage;
  if (used === undefined || usedBefore === undefined || !now.timestamp || !before?.timestamp) return "-";
  const elapsed = nanoseconds(now.timestamp) - nanoseconds(before.timestamp);
  if (elapsed <= 0n || used < usedBefore) return "-";
  return ((Number(used - usedBefore) / Number(elapsed)) * 100).toFixed(1);
}

function nanoseconds({ seconds, nanos }: { seconds: bigint; nanos: number }): bigint {
  return seconds * 1_000_000_000n + BigInt(nanos);
}

/** The machine's memory is the limit where none, or an absurdly high one, is set; 0 when that is not known either. */
function memoryLimit(limit: bigint, machine: v0.wire.Machine | undefined): bigint {
  const all = (machine?.memory ?? 0n) * 1024n * 1024n;
  return limit === 0n || (all > 0n && limit > all) ? all : limit;
}

function transferred({ io_service_bytes_recursive }: v0.wire.BlkioStats, direction: "read" | "write"): bigint {
  return sum(io_service_bytes_recursive.filter(({ op }) => op.toLowerCase() === direction).map(({ value }) => value));
}

function sum(values: readonly bigint[]): bigint {
  return values.reduce((total, value) => total + value, 0n);
}
