import type { OciResources, ThrottleDevice } from "../../core/tasks/runtime/resources.js";
import type { BlockIODevice, ThrottleDevice as ThrottleMessage, UpdateResource } from "../../proto/containerd.js";

/** What a request to change limits asks for, in which zero and empty mean "leave as it is"; undefined when that is nothing. */
export function ociResources(resources: UpdateResource): OciResources | undefined {
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

function deviceNumber(device: BlockIODevice | undefined): BlockIODevice {
  return { major: device?.major ?? 0n, minor: device?.minor ?? 0n };
}

function throttles(devices: ThrottleMessage[]): ThrottleDevice[] | undefined {
  return filled(devices.map(({ blkIODevice, rate }) => ({ ...deviceNumber(blkIODevice), rate })));
}

function filled<T>(list: T[]): T[] | undefined {
  return list.length > 0 ? list : undefined;
}

function present<T extends object>(fields: T): T | undefined {
  return Object.values(fields).some((value) => value !== undefined) ? fields : undefined;
}
