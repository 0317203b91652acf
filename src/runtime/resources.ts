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
