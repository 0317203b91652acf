/** Limits of a container that are whole numbers: the same names in the library's options, on the wire and in the engine. */
export const WHOLE_LIMITS = [
  "memory",
  "memorySwap",
  "memoryReservation",
  "memorySwappiness",
  "kernelMemoryTcp",
  "cpuShares",
  "cpuPeriod",
  "cpuQuota",
  "cpuRealtimePeriod",
  "cpuRealtimeRuntime",
  "pids",
  "blkioWeight",
] as const;
