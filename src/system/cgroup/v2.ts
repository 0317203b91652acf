import { readdirSync } from "node:fs";
import { hasCode } from "../linux/libc.js";
import { addIoStat } from "./blkio.js";
import type { Cgroup, OomWatch, OomWatchOptions } from "./cgroup.js";
import { parseCount, parseFlatKeyed, readControlFile, readCount, UNLIMITED, writeControlFile } from "./control-file.js";
import { type DeviceLimits, placesV2, readDeviceLimits, writeDeviceLimits } from "./device-limits.js";
import { CgroupDirectory, goneError } from "./directory.js";
import { hostCpuTime } from "./host-cpu.js";
import { type KernelLimits, writeKernelLimits } from "./kernel-limits.js";
import { watchOomV2 } from "./oom-v2.js";
import { UNIFIED } from "./place.js";
import {
  type BlkioStats,
  type CgroupStats,
  type CpuStats,
  emptyStats,
  type HugetlbStats,
  type MemoryStats,
  type PidsStats,
} from "./stats.js";

const NANOSECONDS_PER_MICROSECOND = 1000n;

/**
 * A cgroup in v2's one hierarchy. The `add…` methods fill in one part of the message each; they leave the zeros where the controller
 * is not on.
 */
export class CgroupV2 implements Cgroup {
  readonly #path: string;
  readonly #directory: CgroupDirectory;

  /** Throws ENOENT when the cgroup is gone. */
  constructor(path: string) {
    this.#path = path;
    this.#directory = new CgroupDirectory(path);
  }

  get directories(): ReadonlyMap<string, string> {
    return new Map([[UNIFIED, this.#path]]);
  }

  pids(): number[] {
    return this.#directory.pids();
  }

  kill(): void {
    // Since Linux 5.14.
    if (!writeControlFile(this.#path, "cgroup.kill", "1")) this.#directory.killEach();
  }

  frozen(): boolean {
    // cgroup.freeze is what was asked for here; cgroup.events is what is, also when a cgroup above was frozen.
    if (readCount(this.#path, "cgroup.freeze") === 1n) return true;
    return this.#flatKeyed("cgroup.events").get("frozen") === 1n;
  }

  deviceLimits(): DeviceLimits {
    return readDeviceLimits(this.#path, placesV2);
  }

  setDeviceLimits(limits: DeviceLimits): void {
    writeDeviceLimits(this.#path, placesV2, limits);
  }

  setKernelLimits(limits: KernelLimits): void {
    // v2 never had them.
    writeKernelLimits(limits, undefined, undefined);
  }

  stats(): CgroupStats {
    const stats = emptyStats();
    stats.cpu_stats.system_usage = hostCpuTime();
    this.addCpuUsage(stats.cpu_stats);
    this.addThrottling(stats.cpu_stats);
    this.addMemory(stats.memory_stats);
    this.addIo(stats.blkio_stats);
    this.addHugetlb(stats.hugetlb_stats);
    this.addPids(stats.pids_stats);
    // At the end: a cgroup that was removed while it was read gave zeros.
    if (this.#directory.gone) throw goneError(this.#path);
    return stats;
  }

  watchOom(options: OomWatchOptions = {}): OomWatch {
    return watchOomV2(this.#path, options);
  }

  addCpuUsage({ cpu_usage }: CpuStats): void {
    const cpu = this.#flatKeyed("cpu.stat");
    const nanoseconds = (line: string) => (cpu.get(line) ?? 0n) * NANOSECONDS_PER_MICROSECOND;
    cpu_usage.total_usage = nanoseconds("usage_usec");
    cpu_usage.usage_in_usermode = nanoseconds("user_usec");
    cpu_usage.usage_in_kernelmode = nanoseconds("system_usec");
  }

  addThrottling({ throttling_data }: CpuStats): void {
    const cpu = this.#flatKeyed("cpu.stat");
    throttling_data.periods = cpu.get("nr_periods") ?? 0n;
    throttling_data.throttled_periods = cpu.get("nr_throttled") ?? 0n;
    throttling_data.throttled_time = (cpu.get("throttled_usec") ?? 0n) * NANOSECONDS_PER_MICROSECOND;
  }

  addMemory(stats: MemoryStats): void {
    const current = readControlFile(this.#path, "memory.current");
    if (current === undefined) return;
    const lines = this.#flatKeyed("memory.stat");
    stats.stats = Object.fromEntries(lines);
    stats.cache = lines.get("file") ?? 0n;
    const memory = {
      usage: parseCount(current),
      max_usage: readCount(this.#path, "memory.peak"),
      // How often "max" was hit, not how often the OOM killer came: what v1 counts in failcnt.
      failcnt: this.#flatKeyed("memory.events").get("max") ?? 0n,
      limit: readCount(this.#path, "memory.max"),
    };
    stats.usage = memory;
    // v2 has no limit for kernel memory, and names it in memory.stat since 5.18.
    stats.kernel_usage.usage = lines.get("kernel") ?? 0n;

    const swap = readControlFile(this.#path, "memory.swap.current");
    if (swap === undefined) return;
    const limit = readCount(this.#path, "memory.swap.max");
    const peak = readCount(this.#path, "memory.swap.peak");
    // v1's figures, which the message is made of, are memory and swap together (as runc reports them for v2 too).
    stats.swap_usage = {
      usage: memory.usage + parseCount(swap),
      // The two peaks need not have been at one time: this is the most it can have been. Kernels before 6.5 don't tell.
      max_usage: peak === 0n ? memory.max_usage : memory.max_usage + peak,
      failcnt: this.#flatKeyed("memory.swap.events").get("max") ?? 0n,
      limit: limit === UNLIMITED || memory.limit === UNLIMITED ? UNLIMITED : memory.limit + limit,
    };
  }

  addIo(stats: BlkioStats): void {
    addIoStat(readControlFile(this.#path, "io.stat") ?? "", stats);
  }

  addHugetlb(stats: { [pageSize: string]: HugetlbStats }): void {
    for (const size of this.#hugePageSizes()) {
      stats[size] = {
        usage: readCount(this.#path, `hugetlb.${size}.current`),
        max_usage: 0n, // not counted on v2
        failcnt: this.#flatKeyed(`hugetlb.${size}.events`).get("max") ?? 0n,
        limit: readCount(this.#path, `hugetlb.${size}.max`),
      };
    }
  }

  addPids(stats: PidsStats): void {
    stats.current = readCount(this.#path, "pids.current");
    const limit = readCount(this.#path, "pids.max");
    stats.limit = limit === UNLIMITED ? 0n : limit;
  }

  #flatKeyed(file: string): Map<string, bigint> {
    return parseFlatKeyed(readControlFile(this.#path, file) ?? "");
  }

  #hugePageSizes(): string[] {
    try {
      return readdirSync(this.#path).flatMap((name) => /^hugetlb\.([^.]+)\.current$/.exec(name)?.[1] ?? []);
    } catch (error) {
      if (hasCode(error, "ENOENT") || hasCode(error, "ENODEV")) return [];
      throw error;
    }
  }
}
