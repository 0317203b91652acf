/**
 * What a cgroup uses. Every part is always there: what its kernel, or its runtime, does not count is zero or empty. Counters are of 64 bits
 * and grow from the making of the cgroup.
 */
export interface CgroupStats {
  /** Whose files they are of. */
  version: 1 | 2;
  cpu: CpuStats;
  memory: MemoryStats;
  io: IoStats;
  /** By page size: "2MB", "1GB"; bytes. */
  hugePages: { [pageSize: string]: ResourceCounter };
  pids: PidsStats;
}

/** Times in nanoseconds. */
export interface CpuStats {
  total: bigint;
  /** Of the total, by CPU; empty on cgroup v2, which does not count by CPU. */
  perCpu: bigint[];
  user: bigint;
  kernel: bigint;
  /** Periods of the quota, those in which it was used up, and how long processes had to wait then. */
  periods: bigint;
  throttledPeriods: bigint;
  throttledTime: bigint;
  /** What the whole host used since its boot, idle time included. */
  host: bigint;
}

/** Bytes. */
export interface ResourceCounter {
  usage: bigint;
  /** The most that it has been. */
  peak: bigint;
  /** How often the limit was hit. */
  limitHits: bigint;
  /** None is the kernel's own huge number on v1 and 2^64-1 on v2. */
  limit: bigint;
}

/** Bytes. */
export interface MemoryStats {
  /** Page cache. */
  cache: bigint;
  ram: ResourceCounter;
  /** Memory and swap together, on v2 as well. */
  ramAndSwap: ResourceCounter;
  /** Swap alone; zeros on v1, which does not count it. */
  swap: ResourceCounter;
  kernel: ResourceCounter;
  /** Buffers of TCP; zeros on v2, which does not count them. */
  kernelTcp: ResourceCounter;
  /** Every line of memory.stat. */
  lines: { [line: string]: bigint };
  /** Every line of memory.events; on v1 of memory.oom_control. */
  events: { [line: string]: bigint };
}

/** A counter of one block device, by its number. */
export interface DeviceCounter {
  major: number;
  minor: number;
  /** "Read", "Write", "Sync", "Async", "Discard", "Total"; empty where operations are not told apart. */
  operation: string;
  value: bigint;
}

/** Requests to block devices. v2 counts the first two only. */
export interface IoStats {
  bytes: DeviceCounter[];
  requests: DeviceCounter[];
  queued: DeviceCounter[];
  /** Nanoseconds. */
  serviceTime: DeviceCounter[];
  /** Nanoseconds. */
  waitTime: DeviceCounter[];
  merged: DeviceCounter[];
  /** Milliseconds that the device was the cgroup's. */
  time: DeviceCounter[];
  /** Of 512 bytes. */
  sectors: DeviceCounter[];
}

/** Processes and threads. */
export interface PidsStats {
  current: bigint;
  /** 0: none. */
  limit: bigint;
}

export function emptyCounter(): ResourceCounter {
  return { usage: 0n, peak: 0n, limitHits: 0n, limit: 0n };
}

/** The numbers of a cgroup without any controller: all zeros. A new object every time. */
export function emptyStats(): CgroupStats {
  return {
    version: 1,
    cpu: {
      total: 0n,
      perCpu: [],
      user: 0n,
      kernel: 0n,
      periods: 0n,
      throttledPeriods: 0n,
      throttledTime: 0n,
      host: 0n,
    },
    memory: {
      cache: 0n,
      ram: emptyCounter(),
      ramAndSwap: emptyCounter(),
      swap: emptyCounter(),
      kernel: emptyCounter(),
      kernelTcp: emptyCounter(),
      lines: {},
      events: {},
    },
    io: { bytes: [], requests: [], queued: [], serviceTime: [], waitTime: [], merged: [], time: [], sectors: [] },
    hugePages: {},
    pids: { current: 0n, limit: 0n },
  };
}
