import { readControlFile } from "./control-file.js";
import type { DeviceCounter, IoStats } from "./stats.js";

type Table = keyof IoStats;

/**
 * Where v1 keeps each table, by who counted: the files of the BFQ scheduler, of CFQ (kernels before 5.0), or of the throttle layer,
 * which sees every request but has two tables only. The original's library takes the first that has counted anything.
 */
const sources: readonly Partial<Record<Table, string>>[] = [
  schedulerFiles("blkio.bfq."),
  schedulerFiles("blkio."),
  throttleFiles("_recursive"),
  throttleFiles(""),
];

function schedulerFiles(prefix: string): Record<Table, string> {
  return {
    requests: `${prefix}io_serviced_recursive`,
    bytes: `${prefix}io_service_bytes_recursive`,
    queued: `${prefix}io_queued_recursive`,
    serviceTime: `${prefix}io_service_time_recursive`,
    waitTime: `${prefix}io_wait_time_recursive`,
    merged: `${prefix}io_merged_recursive`,
    time: `${prefix}time_recursive`,
    sectors: `${prefix}sectors_recursive`,
  };
}

function throttleFiles(suffix: string): Partial<Record<Table, string>> {
  return {
    requests: `blkio.throttle.io_serviced${suffix}`,
    bytes: `blkio.throttle.io_service_bytes${suffix}`,
  };
}

/** Fills in the tables from a v1 blkio cgroup. `files` are the names in its directory: most kernels have a quarter of these. */
export function readBlkioV1(directory: string, files: ReadonlySet<string>, stats: IoStats): void {
  for (const source of sources) {
    if (!files.has(source.requests!)) continue;
    const serviced = parseBlkio(readControlFile(directory, source.requests!) ?? "");
    if (serviced.length === 0) continue;
    for (const [table, file] of Object.entries(source) as [Table, string][]) {
      if (files.has(file)) stats[table] = parseBlkio(readControlFile(directory, file) ?? "");
    }
    return;
  }
}

/**
 * The lines of a v1 blkio file: `8:0 Read 1282048`, or `8:0 6792` where operations are not told apart. The last line, `Total 3477504`, is
 * of no device and left out.
 */
export function parseBlkio(text: string): DeviceCounter[] {
  const entries: DeviceCounter[] = [];
  for (const line of text.split("\n")) {
    const match = /^(\d+):(\d+)(?: (\S+))? (\d+)$/.exec(line);
    if (!match) continue;
    const [, major, minor, operation = "", value] = match;
    entries.push({ major: Number(major), minor: Number(minor), operation, value: BigInt(value!) });
  }
  return entries;
}

/** v2's names for what v1 has in two tables. Its other counters (dbytes, dios, cost.…) have no place there. */
const UNIFIED_COUNTERS: Readonly<Record<string, { table: Table; operation: string }>> = {
  rbytes: { table: "bytes", operation: "Read" },
  wbytes: { table: "bytes", operation: "Write" },
  rios: { table: "requests", operation: "Read" },
  wios: { table: "requests", operation: "Write" },
};

/** Fills in the tables from the text of a v2 io.stat: `8:0 rbytes=1459200 wbytes=314773504 rios=192 wios=353 dbytes=0 dios=0`. */
export function addIoStat(text: string, stats: IoStats): void {
  for (const line of text.split("\n")) {
    const [device, ...counters] = line.split(" ");
    const numbers = /^(\d+):(\d+)$/.exec(device ?? "");
    if (!numbers) continue;
    for (const counter of counters) {
      const [name, value] = counter.split("=");
      const column = Object.hasOwn(UNIFIED_COUNTERS, name ?? "") ? UNIFIED_COUNTERS[name!] : undefined;
      if (column === undefined || !/^\d+$/.test(value ?? "")) continue;
      stats[column.table].push({
        major: Number(numbers[1]),
        minor: Number(numbers[2]),
        operation: column.operation,
        value: BigInt(value!),
      });
    }
  }
}
