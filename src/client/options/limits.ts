import type { BlockIODevice, ThrottleDevice, UpdateResource, WeightDevice } from "../../proto/containerd.js";
import type { Fields } from "../api/v0.js";
import { anyText, type Check, type Checks, listOf, number, object, whole } from "./option-checks.js";

/** What a container may use. What is not given has no limit. */
export interface ResourceLimits {
  /** Bytes of memory. A container that needs more has processes killed (`oomKilled`). */
  memory?: number | undefined;
  /** Processors: 0.5 is half of one, 2 is two. */
  cpu?: number | undefined;
  /** Processes and threads. */
  pids?: number | undefined;
}

/**
 * Limits to change; what is not given stays as it is. Beside {@link ResourceLimits}: the wire's own fields (bytes, microseconds, counts).
 */
export type Limits = ResourceLimits & Fields<UpdateResource>;

/** Microseconds over which the kernel grants a container its share of the processors. */
const CPU_PERIOD = 100_000;

/** The kernel refuses less than 1 ms of a period. */
const MIN_CPU = 0.01;

const positive = whole("a positive whole number", 1);

export const resourceLimitsChecks: Checks<ResourceLimits> = {
  memory: positive,
  cpu: number(`a number of processors, ${MIN_CPU} or more`, (value) => Number.isFinite(value) && value >= MIN_CPU),
  pids: positive,
};

/** A number of the wire; 0 leaves things as they are. */
const count: Check = (value, name) => {
  if (typeof value !== "bigint" || value < 0n || value >= 2n ** 64n) whole("a whole number, 0 or more", 0)(value, name);
};

const device = object<Fields<BlockIODevice>>({ major: count, minor: count });
const weights = listOf(object<Fields<WeightDevice>>({ blkIODevice: device, weight: count, leafWeight: count }));
const rates = listOf(object<Fields<ThrottleDevice>>({ blkIODevice: device, rate: count }));

export const limitsChecks: Checks<Limits> = {
  ...resourceLimitsChecks,
  blkioWeight: count,
  cpuShares: count,
  cpuPeriod: count,
  cpuQuota: count,
  cpusetCpus: anyText,
  cpusetMems: anyText,
  memoryLimit: count,
  memorySwap: count,
  memoryReservation: count,
  kernelMemoryLimit: count,
  kernelTCPMemoryLimit: count,
  blkioLeafWeight: count,
  blkioWeightDevice: weights,
  blkioThrottleReadBpsDevice: rates,
  blkioThrottleWriteBpsDevice: rates,
  blkioThrottleReadIopsDevice: rates,
  blkioThrottleWriteIopsDevice: rates,
  pidsLimit: count,
};

/** As config.json has them. */
export function toLinuxResources({ memory, cpu, pids }: ResourceLimits): {
  memory?: { limit: number };
  cpu?: { quota: number; period: number };
  pids?: { limit: number };
} {
  return {
    ...(memory !== undefined && { memory: { limit: memory } }),
    ...(cpu !== undefined && { cpu: { quota: Math.round(cpu * CPU_PERIOD), period: CPU_PERIOD } }),
    ...(pids !== undefined && { pids: { limit: pids } }),
  };
}

/** As UpdateContainer has them. */
export function toUpdateResource({ memory, cpu, pids, ...wire }: Limits): Fields<UpdateResource> {
  const resources = toLinuxResources({ memory, cpu, pids });
  return {
    ...(resources.memory && { memoryLimit: resources.memory.limit }),
    ...(resources.cpu && { cpuQuota: resources.cpu.quota, cpuPeriod: resources.cpu.period }),
    ...(resources.pids && { pidsLimit: resources.pids.limit }),
    ...wire,
  };
}
