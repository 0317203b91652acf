import type { UpdateResource } from "../proto/containerd.js";
import type { Fields } from "./api.js";

/** What a container may use. What is not given has no limit. */
export interface ResourceLimits {
  /** Bytes of memory. A container that needs more has processes killed (`oomKilled`). */
  memory?: number | undefined;
  /** Processors: 0.5 is half of one, 2 is two. */
  cpu?: number | undefined;
  /** Processes and threads. */
  pids?: number | undefined;
}

/** Limits to change; what is not given stays as it is. Beside {@link ResourceLimits}: the wire's own fields (bytes, microseconds, counts). */
export type Limits = ResourceLimits & Fields<UpdateResource>;

/** Microseconds over which the kernel grants a container its share of the processors. */
const cpuPeriod = 100_000;

/** The kernel refuses less than 1 ms of a period. */
const smallestCpu = 0.01;

/**
 * As config.json has them.
 *
 * @throws RangeError for what is no limit.
 */
export function toLinuxResources(limits: ResourceLimits): {
  memory?: { limit: number };
  cpu?: { quota: number; period: number };
  pids?: { limit: number };
} {
  const { memory, cpu, pids } = checked(limits);
  return {
    ...(memory !== undefined && { memory: { limit: memory } }),
    ...(cpu !== undefined && { cpu: { quota: Math.round(cpu * cpuPeriod), period: cpuPeriod } }),
    ...(pids !== undefined && { pids: { limit: pids } }),
  };
}

/**
 * As UpdateContainer has them.
 *
 * @throws RangeError for what is no limit.
 */
export function toUpdateResource({ memory, cpu, pids, ...wire }: Limits): Fields<UpdateResource> {
  const resources = toLinuxResources({ memory, cpu, pids });
  return {
    ...(resources.memory && { memoryLimit: resources.memory.limit }),
    ...(resources.cpu && { cpuQuota: resources.cpu.quota, cpuPeriod: resources.cpu.period }),
    ...(resources.pids && { pidsLimit: resources.pids.limit }),
    ...wire,
  };
}

function checked(limits: ResourceLimits): ResourceLimits {
  for (const name of ["memory", "pids"] as const) {
    const value = limits[name];
    if (value !== undefined && !(Number.isSafeInteger(value) && value > 0))
      throw new RangeError(`limits.${name} must be a positive whole number, not ${value}`);
  }
  const { cpu } = limits;
  if (cpu !== undefined && !(Number.isFinite(cpu) && cpu >= smallestCpu))
    throw new RangeError(`limits.cpu must be a number of processors, ${smallestCpu} or more, not ${cpu}`);
  return limits;
}
