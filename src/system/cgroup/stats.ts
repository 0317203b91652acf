/**
 * The numbers of a cgroup. The names are those of the wire contract (proto/containerd.proto), so that the api layer can send these
 * objects as they are; this folder stays below the protocol and does not import it.
 *
 * Every part is always there, zeros included: old Docker Engines dereference them unseen.
 */
export interface CgroupStats {
  cpu_stats: CpuStats;
  memory_stats: MemoryStats;
  blkio_stats: BlkioStats;
  /** By page size: "2MB", "1GB". */
  hugetlb_stats: { [pageSize: string]: HugetlbStats };
  pids_stats: PidsStats;
}

export interface CpuStats {
  cpu_usage: CpuUsage;
  throttling_data: ThrottlingData;
  /** What the whole host used since boot, idle time included; nanoseconds. */
  system_usage: bigint;
}

/** Nanoseconds. */
interface CpuUsage {
  total_usage: bigint;
  /** One number for each CPU; empty on cgroup v2, which does not count by CPU. */
  percpu_usage: bigint[];
  usage_in_kernelmode: bigint;
  usage_in_usermode: bigint;
}

interface ThrottlingData {
  periods: bigint;
  throttled_periods: bigint;
  /** Nanoseconds. */
  throttled_time: bigint;
}

/** Bytes; `failcnt` is how often the limit was hit. No limit is the kernel's own huge number on v1 and 2^64-1 on v2. */
export interface MemoryData {
  usage: bigint;
  max_usage: bigint;
  failcnt: bigint;
  limit: bigint;
}

export interface MemoryStats {
  /** Page cache, bytes. */
  cache: bigint;
  usage: MemoryData;
  /** Memory and swap together, on v2 as well. */
  swap_usage: MemoryData;
  kernel_usage: MemoryData;
  /** Every line of memory.stat. */
  stats: { [line: string]: bigint };
}

export interface BlkioStatsEntry {
  major: bigint;
  minor: bigint;
  /** "Read", "Write", "Sync", "Async", "Discard", "Total"; empty where the file does not tell operations apart. */
  op: string;
  value: bigint;
}

export interface BlkioStats {
  io_service_bytes_recursive: BlkioStatsEntry[];
  io_serviced_recursive: BlkioStatsEntry[];
  io_queued_recursive: BlkioStatsEntry[];
  io_service_time_recursive: BlkioStatsEntry[];
  io_wait_time_recursive: BlkioStatsEntry[];
  io_merged_recursive: BlkioStatsEntry[];
  io_time_recursive: BlkioStatsEntry[];
  sectors_recursive: BlkioStatsEntry[];
}

/** Bytes. */
export interface HugetlbStats {
  usage: bigint;
  max_usage: bigint;
  failcnt: bigint;
  limit: bigint;
}

export interface PidsStats {
  current: bigint;
  /** 0: none. */
  limit: bigint;
}

/** The numbers of a cgroup without any controller: all zeros. A new object every time. */
export function emptyStats(): CgroupStats {
  return {
    cpu_stats: {
      cpu_usage: { total_usage: 0n, percpu_usage: [], usage_in_kernelmode: 0n, usage_in_usermode: 0n },
      throttling_data: { periods: 0n, throttled_periods: 0n, throttled_time: 0n },
      system_usage: 0n,
    },
    memory_stats: {
      cache: 0n,
      usage: { usage: 0n, max_usage: 0n, failcnt: 0n, limit: 0n },
      swap_usage: { usage: 0n, max_usage: 0n, failcnt: 0n, limit: 0n },
      kernel_usage: { usage: 0n, max_usage: 0n, failcnt: 0n, limit: 0n },
      stats: {},
    },
    blkio_stats: {
      io_service_bytes_recursive: [],
      io_serviced_recursive: [],
      io_queued_recursive: [],
      io_service_time_recursive: [],
      io_wait_time_recursive: [],
      io_merged_recursive: [],
      io_time_recursive: [],
      sectors_recursive: [],
    },
    hugetlb_stats: {},
    pids_stats: { current: 0n, limit: 0n },
  };
}
