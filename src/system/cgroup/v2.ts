import { readdirSync } from "node:fs";
import { hasCode } from "../linux/libc.js";
import { addIoStat } from "./blkio.js";
import type { Cgroup, OomWatch, OomWatchOptions } from "./cgroup.js";
import { parseCount, parseFlatKeyed, readControlFile, readCount, UNLIMITED, writeControlFile } from "./control-file.js";
import { type DeviceLimits, PLACES_V2, readDeviceLimits, writeDeviceLimits } from "./device-limits.js";
import { CgroupDirectory, goneError } from "./directory.js";
import { hostCpuTime } from "./host-cpu.js";
import { type KernelLimits, writeKernelLimits } from "./kernel-limits.js";
import { watchOomV2 } from "./oom-v2.js";
import { UNIFIED } from "./place.js";
import {
  type CgroupStats,
  type CpuStats,
  emptyStats,
  type IoStats,
  type MemoryStats,
  type PidsStats,
  type ResourceCounter,
} from "./stats.js";

const NANOSECONDS_PER_MICROSECOND = 1000n;

/**
 * A cgroup in v2's one hierarchy. The `add…` methods fill in one part of the numbers each; they leave the zeros where the controller
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

  setFrozen(wanted: boolean): boolean | undefined {
    if (!writeControlFile(this.#path, "cgroup.freeze", wanted ? "1" : "0")) return undefined;
    return (this.#flatKeyed("cgroup.events").get("frozen") === 1n) === wanted;
  }

  deviceLimits(): DeviceLimits {
    return readDeviceLimits(this.#path, PLACES_V2);
  }

  setDeviceLimits(limits: DeviceLimits): void {
    writeDeviceLimits(this.#path, PLACES_V2, limits);
  }

  setKernelLimits(limits: KernelLimits): void {
    // v2 never had them.
    writeKernelLimits(limits, undefined, undefined);
  }

  stats(): CgroupStats {
    const stats: CgroupStats = { ...emptyStats(), version: 2 };
    stats.cpu.host = hostCpuTime();
    this.addCpuUsage(stats.cpu);
    this.addThrottling(stats.cpu);
    this.addMemory(stats.memory);
    this.addIo(stats.io);
    this.addHugePages(stats.hugePages);
    this.addPids(stats.pids);
    // At the end: a cgroup that was removed while it was read gave zeros.
    if (this.#directory.gone) throw goneError(this.#path);
    return stats;
  }

  watchOom(options: OomWatchOptions = {}): OomWatch {
    return watchOomV2(this.#path, options);
  }

  addCpuUsage(stats: CpuStats): void {
    const cpu = this.#flatKeyed("cpu.stat");
    const nanoseconds = (line: string) => (cpu.get(line) ?? 0n) * NANOSECONDS_PER_MICROSECOND;
    stats.total = nanoseconds("usage_usec");
    stats.user = nanoseconds("user_usec");
    stats.kernel = nanoseconds("system_usec");
  }

  addThrottling(stats: CpuStats): void {
    const cpu = this.#flatKeyed("cpu.stat");
    stats.periods = cpu.get("nr_periods") ?? 0n;
    stats.throttledPeriods = cpu.get("nr_throttled") ?? 0n;
    stats.throttledTime = (cpu.get("throttled_usec") ?? 0n) * NANOSECONDS_PER_MICROSECOND;
  }

  addMemory(stats: MemoryStats): void {
    const current = readControlFile(this.#path, "memory.current");
    if (current === undefined) return;
    const lines = this.#flatKeyed("memory.stat");
    stats.lines = Object.fromEntries(lines);
    stats.cache = lines.get("file") ?? 0n;
    const events = this.#flatKeyed("memory.events");
    stats.events = Object.fromEntries(events);
    const ram = {
      usage: parseCount(current),
      peak: readCount(this.#path, "memory.peak"),
      // How often "max" was hit, not how often the OOM killer came: what v1 counts in failcnt.
      limitHits: events.get("max") ?? 0n,
      limit: readCount(this.#path, "memory.max"),
    };
    stats.ram = ram;
    // v2 has no limit for kernel memory, and names it in memory.stat since 5.18.
    stats.kernel.usage = lines.get("kernel") ?? 0n;

    const swap = readControlFile(this.#path, "memory.swap.current");
    if (swap === undefined) return;
    const limit = readCount(this.#path, "memory.swap.max");
    const peak = readCount(this.#path, "memory.swap.peak");
    const limitHits = this.#flatKeyed("memory.swap.events").get("max") ?? 0n;
    stats.swap = { usage: parseCount(swap), peak, limitHits, limit };
    // v1 counts memory and swap together, and so do the APIs (runc reports them for v2 in this way too).
    stats.ramAndSwap = {
      usage: ram.usage + stats.swap.usage,
      // The two peaks need not have been at one time: this is the most it can have been. Kernels before 6.5 don't tell.
      peak: peak === 0n ? ram.peak : ram.peak + peak,
      limitHits,
      limit: limit === UNLIMITED || ram.limit === UNLIMITED ? UNLIMITED : ram.limit + limit,
    };
  }

  addIo(stats: IoStats): void {
    addIoStat(readControlFile(this.#path, "io.stat") ?? "", stats);
  }

  addHugePages(stats: { [pageSize: string]: ResourceCounter }): void {
    for (const size of this.#hugePageSizes()) {
      stats[size] = {
        usage: readCount(this.#path, `hugetlb.${size}.current`),
        peak: 0n, // not counted on v2
        limitHits: this.#flatKeyed(`hugetlb.${size}.events`).get("max") ?? 0n,
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
