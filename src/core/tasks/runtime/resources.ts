import type { DeviceLimits } from "../../../system/cgroup/device-limits.js";
import type { KernelLimits } from "../../../system/cgroup/kernel-limits.js";

type Count = number | bigint;

interface DeviceNumber {
  major: Count;
  minor: Count;
}

export interface ThrottleDevice extends DeviceNumber {
  /** 0: no limit any more. */
  rate: Count;
}

interface WeightDevice extends DeviceNumber {
  weight?: Count | undefined;
  leafWeight?: Count | undefined;
}

/** The OCI runtime-spec's `linux.resources`, as far as running containers can have it changed: what is not there stays. -1 is no limit. */
export interface OciResources {
  memory?: { limit?: Count; swap?: Count; reservation?: Count; kernel?: Count; kernelTCP?: Count };
  cpu?: { shares?: Count; quota?: Count; period?: Count; cpus?: string; mems?: string };
  pids?: { limit?: Count };
  blockIO?: {
    weight?: Count;
    leafWeight?: Count;
    weightDevice?: WeightDevice[];
    throttleReadBpsDevice?: ThrottleDevice[];
    throttleWriteBpsDevice?: ThrottleDevice[];
    throttleReadIOPSDevice?: ThrottleDevice[];
    throttleWriteIOPSDevice?: ThrottleDevice[];
  };
}

/** The part that runtimes' update commands pass over: runc 1.x takes no device lists, and none of them kernel memory. */
export function deviceLimits({ blockIO = {} }: OciResources): DeviceLimits {
  return defined({
    readBps: byDevice(blockIO.throttleReadBpsDevice, ({ rate }) => rate),
    writeBps: byDevice(blockIO.throttleWriteBpsDevice, ({ rate }) => rate),
    readIops: byDevice(blockIO.throttleReadIOPSDevice, ({ rate }) => rate),
    writeIops: byDevice(blockIO.throttleWriteIOPSDevice, ({ rate }) => rate),
    weight: byDevice(blockIO.weightDevice, ({ weight }) => weight),
    leafWeight: byDevice(blockIO.weightDevice, ({ leafWeight }) => leafWeight),
  });
}

/** See {@link deviceLimits}. */
export function kernelLimits({ memory = {}, blockIO = {} }: OciResources): KernelLimits {
  return defined({
    kernelMemory: whole(memory.kernel),
    kernelTcpMemory: whole(memory.kernelTCP),
    leafWeight: whole(blockIO.leafWeight),
  });
}

/** Undefined when none is named. */
function byDevice<T extends DeviceNumber>(
  devices: T[] = [],
  limit: (device: T) => Count | undefined,
): Map<string, bigint> | undefined {
  const limits = new Map<string, bigint>();
  for (const device of devices) {
    const value = whole(limit(device));
    if (value !== undefined) limits.set(`${device.major}:${device.minor}`, value);
  }
  return limits.size > 0 ? limits : undefined;
}

function whole(value: Count | undefined): bigint | undefined {
  return value === undefined ? undefined : BigInt(value);
}

type Defined<T> = { [key in keyof T]?: Exclude<T[key], undefined> };

function defined<T extends object>(fields: T): Defined<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Defined<T>;
}
