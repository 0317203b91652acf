import type { DeviceLimits } from "../../../system/cgroup/device-limits.js";
import type { KernelLimits } from "../../../system/cgroup/kernel-limits.js";

/** Limits to change, as the API has them: zero and empty mean "leave as it is". Bytes, microseconds, operations a second. */
export interface Resources {
  blkioWeight: bigint;
  blkioLeafWeight: bigint;
  blkioWeightDevice: { blkIODevice?: DeviceNumber | undefined; weight: number; leafWeight: number }[];
  blkioThrottleReadBpsDevice: ThrottleDevice[];
  blkioThrottleWriteBpsDevice: ThrottleDevice[];
  blkioThrottleReadIopsDevice: ThrottleDevice[];
  blkioThrottleWriteIopsDevice: ThrottleDevice[];
  cpuShares: bigint;
  cpuPeriod: bigint;
  cpuQuota: bigint;
  cpusetCpus: string;
  cpusetMems: string;
  memoryLimit: bigint;
  memorySwap: bigint;
  memoryReservation: bigint;
  kernelMemoryLimit: bigint;
  kernelTCPMemoryLimit: bigint;
  pidsLimit: bigint;
}

interface DeviceNumber {
  major: bigint;
  minor: bigint;
}

export interface ThrottleDevice {
  blkIODevice?: DeviceNumber | undefined;
  rate: bigint;
}

/** The OCI `linux.resources` object with only what is asked for; undefined when nothing is. */
export function ociResources(resources: Resources): object | undefined {
  return present({
    memory: present({
      limit: asked(resources.memoryLimit),
      swap: asked(resources.memorySwap),
      reservation: asked(resources.memoryReservation),
      kernel: asked(resources.kernelMemoryLimit),
      kernelTCP: asked(resources.kernelTCPMemoryLimit),
    }),
    cpu: present({
      shares: asked(resources.cpuShares),
      quota: asked(resources.cpuQuota),
      period: asked(resources.cpuPeriod),
      cpus: resources.cpusetCpus || undefined,
      mems: resources.cpusetMems || undefined,
    }),
    pids: present({ limit: asked(resources.pidsLimit) }),
    blockIO: present({
      weight: asked(resources.blkioWeight),
      leafWeight: asked(resources.blkioLeafWeight),
      weightDevice: filled(
        resources.blkioWeightDevice.map(({ blkIODevice, weight, leafWeight }) => ({
          ...deviceNumber(blkIODevice),
          weight: weight || undefined,
          leafWeight: leafWeight || undefined,
        })),
      ),
      throttleReadBpsDevice: throttles(resources.blkioThrottleReadBpsDevice),
      throttleWriteBpsDevice: throttles(resources.blkioThrottleWriteBpsDevice),
      throttleReadIOPSDevice: throttles(resources.blkioThrottleReadIopsDevice),
      throttleWriteIOPSDevice: throttles(resources.blkioThrottleWriteIopsDevice),
    }),
  });
}

/** The part that runtimes' update commands pass over: runc 1.x takes no device lists, and none of them kernel memory. */
export function deviceLimits(resources: Resources): DeviceLimits {
  return defined({
    readBps: rates(resources.blkioThrottleReadBpsDevice),
    writeBps: rates(resources.blkioThrottleWriteBpsDevice),
    readIops: rates(resources.blkioThrottleReadIopsDevice),
    writeIops: rates(resources.blkioThrottleWriteIopsDevice),
    weight: byDevice(resources.blkioWeightDevice, ({ weight }) => asked(BigInt(weight))),
    leafWeight: byDevice(resources.blkioWeightDevice, ({ leafWeight }) => asked(BigInt(leafWeight))),
  });
}

/** See {@link deviceLimits}. */
export function kernelLimits(resources: Resources): KernelLimits {
  return defined({
    kernelMemory: asked(resources.kernelMemoryLimit),
    kernelTcpMemory: asked(resources.kernelTCPMemoryLimit),
    leafWeight: asked(resources.blkioLeafWeight),
  });
}

/** A device that is named with a rate of 0 is to have no limit any more. */
function rates(devices: ThrottleDevice[]): Map<string, bigint> | undefined {
  return byDevice(devices, ({ rate }) => rate);
}

function byDevice<T extends { blkIODevice?: DeviceNumber | undefined }>(
  devices: T[],
  value: (device: T) => bigint | undefined,
): Map<string, bigint> | undefined {
  const values = new Map<string, bigint>();
  for (const device of devices) {
    const { major, minor } = deviceNumber(device.blkIODevice);
    const number = value(device);
    if (number !== undefined) values.set(`${major}:${minor}`, number);
  }
  return values.size > 0 ? values : undefined;
}

type Defined<T> = { [key in keyof T]?: Exclude<T[key], undefined> };

function defined<T extends object>(fields: T): Defined<T> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Defined<T>;
}

/** Go's client sends an unlimited -1 as the unsigned 2^64-1; the OCI fields are signed. */
function asked(value: bigint): bigint | undefined {
  return value === 0n ? undefined : BigInt.asIntN(64, value);
}

function deviceNumber(device: DeviceNumber | undefined): DeviceNumber {
  return { major: device?.major ?? 0n, minor: device?.minor ?? 0n };
}

function throttles(devices: ThrottleDevice[]): object[] | undefined {
  return filled(devices.map(({ blkIODevice, rate }) => ({ ...deviceNumber(blkIODevice), rate })));
}

function filled<T>(list: T[]): T[] | undefined {
  return list.length > 0 ? list : undefined;
}

function present<T extends object>(fields: T): T | undefined {
  return Object.values(fields).some((value) => value !== undefined) ? fields : undefined;
}
