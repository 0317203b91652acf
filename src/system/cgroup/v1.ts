import { readBlkioV1 } from "./blkio.js";
import type { Cgroup, OomWatch, OomWatchOptions } from "./cgroup.js";
import {
  namesIn,
  parseCount,
  parseFlatKeyed,
  readControlFile,
  readCount,
  UNLIMITED,
  writeControlFile,
} from "./control-file.js";
import { type DeviceLimits, PLACES_V1, readDeviceLimits, writeDeviceLimits } from "./device-limits.js";
import { CgroupDirectory, goneError } from "./directory.js";
import { hostCpuTime, NANOSECONDS_PER_TICK } from "./host-cpu.js";
import { type KernelLimits, writeKernelLimits } from "./kernel-limits.js";
import { watchOomV1 } from "./oom-v1.js";
import { type CgroupStats, emptyCounter, emptyStats, type ResourceCounter } from "./stats.js";
import { CgroupV2 } from "./v2.js";

/**
 * The order in which a hierarchy is asked for the pids. Runtimes put a container into all of them; `name=…` comes after these, since
 * systemd moves processes about in its own.
 */
const PREFERRED = ["pids", "memory", "freezer", "cpu", "cpuacct", "blkio", "devices"];

/** A cgroup in v1's hierarchies; and in v2's, where that is mounted beside them (hybrid), for controllers that v1 does not have. */
export class CgroupV1 implements Cgroup {
  readonly #paths: ReadonlyMap<string, string>;
  readonly #unified: CgroupV2 | undefined;
  readonly #main: CgroupDirectory;

  /** `paths`: a directory for each controller, at least one. Throws ENOENT when the cgroup is gone. */
  constructor(paths: ReadonlyMap<string, string>, unified?: string) {
    this.#paths = paths;
    this.#unified = unified === undefined ? undefined : new CgroupV2(unified);
    const main = PREFERRED.find((controller) => paths.has(controller)) ?? [...paths.keys()][0];
    if (main === undefined) throw new Error("a cgroup needs a hierarchy");
    this.#main = new CgroupDirectory(paths.get(main)!);
  }

  get directories(): ReadonlyMap<string, string> {
    return this.#unified === undefined ? this.#paths : new Map([...this.#paths, ...this.#unified.directories]);
  }

  pids(): number[] {
    return this.#main.pids();
  }

  kill(): void {
    this.#unified?.kill();
    const freezer = this.#paths.get("freezer");
    // A frozen process neither forks nor ends, so its pid is not reused; SIGKILL takes effect when it is thawed.
    if (freezer !== undefined) writeControlFile(freezer, "freezer.state", "FROZEN");
    try {
      this.#main.killEach();
    } finally {
      if (freezer !== undefined) writeControlFile(freezer, "freezer.state", "THAWED");
    }
  }

  frozen(): boolean {
    const freezer = this.#paths.get("freezer");
    // FREEZING: the last processes are being stopped.
    if (freezer !== undefined) return /^FR/.test(readControlFile(freezer, "freezer.state") ?? "");
    return this.#unified?.frozen() ?? false;
  }

  setFrozen(wanted: boolean): boolean | undefined {
    // v2's beside it is not what runtimes use then.
    const freezer = this.#paths.get("freezer");
    const state = wanted ? "FROZEN" : "THAWED";
    if (freezer === undefined || !writeControlFile(freezer, "freezer.state", state)) return undefined;
    return readControlFile(freezer, "freezer.state")?.trim() === state;
  }

  deviceLimits(): DeviceLimits {
    const blkio = this.#paths.get("blkio");
    if (blkio !== undefined) return readDeviceLimits(blkio, PLACES_V1);
    return this.#unified?.deviceLimits() ?? {};
  }

  setDeviceLimits(limits: DeviceLimits): void {
    const blkio = this.#paths.get("blkio");
    if (blkio === undefined && this.#unified !== undefined) this.#unified.setDeviceLimits(limits);
    else writeDeviceLimits(blkio ?? this.#main.path, PLACES_V1, limits);
  }

  setKernelLimits(limits: KernelLimits): void {
    writeKernelLimits(limits, this.#paths.get("memory"), this.#paths.get("blkio"));
  }

  stats(): CgroupStats {
    const stats = emptyStats();
    stats.cpu.host = hostCpuTime();
    this.#cpu(stats);
    this.#memory(stats);
    this.#io(stats);
    this.#hugePages(stats);
    this.#pids(stats);
    // At the end: a cgroup that was removed while it was read gave zeros.
    if (this.#main.gone) throw goneError(this.#main.path);
    return stats;
  }

  watchOom(options: OomWatchOptions = {}): OomWatch {
    const memory = this.#paths.get("memory");
    if (memory !== undefined) return watchOomV1(memory, options);
    if (this.#unified !== undefined) return this.#unified.watchOom(options);
    throw new Error(`no memory controller for cgroup ${this.#main.path}`);
  }

  #cpu({ cpu }: CgroupStats): void {
    const cpuacct = this.#paths.get("cpuacct");
    if (cpuacct === undefined) {
      this.#unified?.addCpuUsage(cpu);
    } else {
      cpu.total = readCount(cpuacct, "cpuacct.usage");
      const each = readControlFile(cpuacct, "cpuacct.usage_percpu")?.trim() ?? "";
      if (each !== "") cpu.perCpu = each.split(" ").map(parseCount);
      const ticks = parseFlatKeyed(readControlFile(cpuacct, "cpuacct.stat") ?? "");
      cpu.user = (ticks.get("user") ?? 0n) * NANOSECONDS_PER_TICK;
      cpu.kernel = (ticks.get("system") ?? 0n) * NANOSECONDS_PER_TICK;
    }
    const quota = this.#paths.get("cpu");
    if (quota === undefined) {
      this.#unified?.addThrottling(cpu);
    } else {
      const throttling = parseFlatKeyed(readControlFile(quota, "cpu.stat") ?? "");
      cpu.periods = throttling.get("nr_periods") ?? 0n;
      cpu.throttledPeriods = throttling.get("nr_throttled") ?? 0n;
      cpu.throttledTime = throttling.get("throttled_time") ?? 0n;
    }
  }

  #memory({ memory }: CgroupStats): void {
    const directory = this.#paths.get("memory");
    if (directory === undefined) {
      this.#unified?.addMemory(memory);
      return;
    }
    const lines = parseFlatKeyed(readControlFile(directory, "memory.stat") ?? "");
    memory.lines = Object.fromEntries(lines);
    memory.cache = lines.get("cache") ?? 0n;
    memory.ram = resourceCounter(directory, "memory");
    memory.ramAndSwap = resourceCounter(directory, "memory.memsw");
    memory.kernel = resourceCounter(directory, "memory.kmem");
    memory.kernelTcp = resourceCounter(directory, "memory.kmem.tcp");
    memory.events = Object.fromEntries(parseFlatKeyed(readControlFile(directory, "memory.oom_control") ?? ""));
  }

  #io({ io }: CgroupStats): void {
    const blkio = this.#paths.get("blkio");
    if (blkio === undefined) this.#unified?.addIo(io);
    else readBlkioV1(blkio, namesIn(blkio), io);
  }

  #hugePages({ hugePages }: CgroupStats): void {
    const hugetlb = this.#paths.get("hugetlb");
    if (hugetlb === undefined) {
      this.#unified?.addHugePages(hugePages);
      return;
    }
    for (const name of namesIn(hugetlb)) {
      const size = /^hugetlb\.([^.]+)\.usage_in_bytes$/.exec(name)?.[1];
      if (size !== undefined) hugePages[size] = resourceCounter(hugetlb, `hugetlb.${size}`);
    }
  }

  #pids({ pids }: CgroupStats): void {
    const directory = this.#paths.get("pids");
    if (directory === undefined) {
      this.#unified?.addPids(pids);
      return;
    }
    pids.current = readCount(directory, "pids.current");
    const limit = readCount(directory, "pids.max");
    pids.limit = limit === UNLIMITED ? 0n : limit;
  }
}

/** The four files that v1's memory and hugetlb controllers have for everything they count; zeros where there are none. */
function resourceCounter(directory: string, prefix: string): ResourceCounter {
  // Swap and kernel memory are not counted everywhere: then the other three are not there either.
  const usage = readControlFile(directory, `${prefix}.usage_in_bytes`);
  if (usage === undefined) return emptyCounter();
  return {
    usage: parseCount(usage),
    peak: readCount(directory, `${prefix}.max_usage_in_bytes`),
    limitHits: readCount(directory, `${prefix}.failcnt`),
    limit: readCount(directory, `${prefix}.limit_in_bytes`),
  };
}
