import { secondsAndNanos } from "../../contract/go/rfc3339.js";
import type { TaskStats } from "../../core/tasks/operations/stats.js";
import type {
  BlkioStatsEntry,
  CgroupStats as CgroupMessage,
  MemoryData,
  NetworkStats as NetworkMessage,
  StatsResponse,
} from "../../proto/containerd.js";
import type { CgroupStats, DeviceCounter, ResourceCounter } from "../../system/cgroup/stats.js";
import type { NetworkStats } from "../../system/linux/proc-net-dev.js";

export function statsMessage({ network, cgroup, timestamp }: TaskStats): StatsResponse {
  return {
    network_stats: network.map(networkMessage),
    cgroup_stats: cgroupMessage(cgroup),
    timestamp: secondsAndNanos(timestamp),
  };
}

/** The names are mixed like that in the protocol. */
function networkMessage({ name, received, sent }: NetworkStats): NetworkMessage {
  return {
    name,
    rx_bytes: received.bytes,
    rx_Packets: received.packets,
    Rx_errors: received.errors,
    Rx_dropped: received.dropped,
    Tx_bytes: sent.bytes,
    Tx_packets: sent.packets,
    Tx_errors: sent.errors,
    Tx_dropped: sent.dropped,
  };
}

/** Every part is there, zeros included: old Docker Engines dereference them unseen. */
function cgroupMessage({ cpu, memory, io, hugePages, pids }: CgroupStats): CgroupMessage {
  return {
    cpu_stats: {
      cpu_usage: {
        total_usage: cpu.total,
        percpu_usage: cpu.perCpu,
        usage_in_kernelmode: cpu.kernel,
        usage_in_usermode: cpu.user,
      },
      throttling_data: {
        periods: cpu.periods,
        throttled_periods: cpu.throttledPeriods,
        throttled_time: cpu.throttledTime,
      },
      system_usage: cpu.host,
    },
    memory_stats: {
      cache: memory.cache,
      usage: counterMessage(memory.ram),
      swap_usage: counterMessage(memory.ramAndSwap),
      kernel_usage: counterMessage(memory.kernel),
      stats: memory.lines,
    },
    blkio_stats: {
      io_service_bytes_recursive: io.bytes.map(deviceMessage),
      io_serviced_recursive: io.requests.map(deviceMessage),
      io_queued_recursive: io.queued.map(deviceMessage),
      io_service_time_recursive: io.serviceTime.map(deviceMessage),
      io_wait_time_recursive: io.waitTime.map(deviceMessage),
      io_merged_recursive: io.merged.map(deviceMessage),
      io_time_recursive: io.time.map(deviceMessage),
      sectors_recursive: io.sectors.map(deviceMessage),
    },
    hugetlb_stats: Object.fromEntries(Object.entries(hugePages).map(([size, pages]) => [size, counterMessage(pages)])),
    pids_stats: pids,
  };
}

function counterMessage({ usage, peak, limitHits, limit }: ResourceCounter): MemoryData {
  return { usage, max_usage: peak, failcnt: limitHits, limit };
}

function deviceMessage({ major, minor, operation, value }: DeviceCounter): BlkioStatsEntry {
  return { major: BigInt(major), minor: BigInt(minor), op: operation, value };
}
