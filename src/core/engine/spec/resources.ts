import type { DeviceRate, Resources } from "../container-config.js";
import type { HostDevice, HostFacts } from "./host-facts.js";
import { checkText, checkWhole, invalidOption } from "./invalid-option.js";
import type { OciResources, OciThrottle } from "./oci-spec.js";

/** In microseconds: over which the kernel grants a container its share of the processors. */
export const CPU_PERIOD = 100_000;
/** In microseconds: the kernel takes no less. */
const LEAST_QUOTA = 1000;
const MOST_PERIOD = 1_000_000;
/** In bytes: less does not suffice for a runtime to start a process. */
const LEAST_MEMORY = 6 << 20;
/** In bytes: what the kernel counts in pages, as a number that a double holds. */
const MOST = Number.MAX_SAFE_INTEGER;

type Facts = Pick<HostFacts, "cgroupVersion" | "swapLimit" | "devices">;

/**
 * Limits as runtimes have them, for a start and for a change; without rules for devices, which are part of a start only.
 * @throws Failure (invalid-argument)
 */
export function resourcesOf(resources: Resources, host: Facts): OciResources {
  const all = withoutEmpty({
    memory: memoryOf(resources, host),
    cpu: cpuOf(resources, host),
    pids: pidsOf(resources),
    blockIO: blockIoOf(resources, host),
    unified: unifiedOf(resources, host),
  });
  return all ?? {};
}

function memoryOf(resources: Resources, { cgroupVersion, swapLimit }: Facts): OciResources["memory"] {
  const { memory, memorySwap, memoryReservation, memorySwappiness, kernelMemoryTcp, oomKillDisable } = resources;
  const option = (name: keyof Resources, allowed: string, least: number, most = MOST) =>
    check(resources, name, least, most, allowed);
  option("memory", `a number of bytes, ${LEAST_MEMORY} (6 MiB) or more`, LEAST_MEMORY);
  option("memoryReservation", `a number of bytes, ${LEAST_MEMORY} (6 MiB) or more`, LEAST_MEMORY);
  option("memorySwap", "a number of bytes of memory and swap together, or -1 for no limit", -1);
  option("memorySwappiness", "a whole number from 0 to 100", 0, 100);
  option("kernelMemoryTcp", "a positive number of bytes", 1);
  if (memorySwap !== undefined && memorySwap !== -1) {
    const refuse = (why: string) => invalidOption("resources.memorySwap", memorySwap, why);
    if (memory === undefined) throw refuse("it counts memory as well, and goes with resources.memory");
    if (memorySwap < memory) throw refuse(`it counts memory as well: it must be ${memory} (resources.memory) or more`);
    if (!swapLimit) throw refuse("this kernel does not count swap (swapaccount=1 on its command line has it do so)");
  }
  if (memoryReservation !== undefined && memory !== undefined && memoryReservation > memory)
    throw invalidOption(
      "resources.memoryReservation",
      memoryReservation,
      `it must not be above ${memory} (resources.memory)`,
    );
  if (cgroupVersion === 2) {
    refuseOnV2(resources, "memorySwappiness");
    refuseOnV2(resources, "kernelMemoryTcp");
    if (oomKillDisable) refuseOnV2(resources, "oomKillDisable");
  }
  // As Docker has it: without a limit of its own, swap would take what the limit of memory keeps from a container.
  const swap = memorySwap ?? (memory !== undefined && swapLimit ? Math.min(memory * 2, MOST) : undefined);
  return withoutEmpty({
    limit: memory,
    swap: swap === -1 && !swapLimit ? undefined : swap,
    reservation: memoryReservation,
    swappiness: memorySwappiness,
    kernelTCP: kernelMemoryTcp,
    disableOOMKiller: oomKillDisable || undefined,
  });
}

function cpuOf(resources: Resources, { cgroupVersion }: Facts): OciResources["cpu"] {
  const { cpus, cpuShares, cpuPeriod, cpuQuota, cpuRealtimePeriod, cpuRealtimeRuntime } = resources;
  const least = LEAST_QUOTA / CPU_PERIOD;
  if (cpus !== undefined) {
    if (!Number.isFinite(cpus) || cpus < least || cpus > MOST / CPU_PERIOD)
      throw invalidOption("resources.cpus", cpus, `it must be a number of processors, ${least} or more`);
    for (const name of ["cpuPeriod", "cpuQuota"] as const)
      if (resources[name] !== undefined)
        throw invalidOption(`resources.${name}`, resources[name], "it does not go together with resources.cpus");
  }
  check(resources, "cpuShares", 2, 262_144, "a whole number from 2 to 262144");
  check(resources, "cpuPeriod", LEAST_QUOTA, MOST_PERIOD, `microseconds from ${LEAST_QUOTA} to ${MOST_PERIOD}`);
  if (cpuQuota !== -1) check(resources, "cpuQuota", LEAST_QUOTA, MOST, `microseconds, ${LEAST_QUOTA} or more, or -1`);
  check(resources, "cpuRealtimePeriod", 1, MOST, "a positive number of microseconds");
  check(resources, "cpuRealtimeRuntime", 1, MOST, "a positive number of microseconds");
  if (cgroupVersion === 2) {
    refuseOnV2(resources, "cpuRealtimePeriod");
    refuseOnV2(resources, "cpuRealtimeRuntime");
  }
  if (cpuRealtimeRuntime !== undefined && cpuRealtimePeriod !== undefined && cpuRealtimeRuntime > cpuRealtimePeriod) {
    const why = `it must not be above ${cpuRealtimePeriod} (resources.cpuRealtimePeriod)`;
    throw invalidOption("resources.cpuRealtimeRuntime", cpuRealtimeRuntime, why);
  }
  return withoutEmpty({
    shares: cpuShares,
    quota: cpus === undefined ? cpuQuota : Math.round(cpus * CPU_PERIOD),
    period: cpus === undefined ? cpuPeriod : CPU_PERIOD,
    realtimePeriod: cpuRealtimePeriod,
    realtimeRuntime: cpuRealtimeRuntime,
    cpus: setOf(resources, "cpusetCpus"),
    mems: setOf(resources, "cpusetMems"),
  });
}

function pidsOf(resources: Resources): OciResources["pids"] {
  const { pids } = resources;
  if (pids !== -1) check(resources, "pids", 1, 2 ** 31 - 1, "a number of processes, 1 or more, or -1 for no limit");
  return pids === undefined ? undefined : { limit: pids };
}

function blockIoOf(resources: Resources, host: Facts): OciResources["blockIO"] {
  const allowed = "a whole number from 10 to 1000";
  check(resources, "blkioWeight", 10, 1000, allowed);
  const weights = resources.blkioWeightDevice?.map(({ path, weight }, index) => {
    const option = `resources.blkioWeightDevice[${index}]`;
    checkWhole(`${option}.weight`, weight, 10, 1000, allowed);
    return { ...blockDevice(`${option}.path`, path, host), weight };
  });
  const rates = (name: RateName) => {
    return resources[name]?.map(({ path, rate }: DeviceRate, index): OciThrottle => {
      const option = `resources.${name}[${index}]`;
      checkWhole(`${option}.rate`, rate, 1, MOST, "a positive whole number, for each second");
      return { ...blockDevice(`${option}.path`, path, host), rate };
    });
  };
  return withoutEmpty({
    weight: resources.blkioWeight,
    weightDevice: weights,
    throttleReadBpsDevice: rates("blkioDeviceReadBps"),
    throttleWriteBpsDevice: rates("blkioDeviceWriteBps"),
    throttleReadIOPSDevice: rates("blkioDeviceReadIOps"),
    throttleWriteIOPSDevice: rates("blkioDeviceWriteIOps"),
  });
}

type RateName = "blkioDeviceReadBps" | "blkioDeviceWriteBps" | "blkioDeviceReadIOps" | "blkioDeviceWriteIOps";

function blockDevice(option: string, path: string, { devices }: Facts): Pick<HostDevice, "major" | "minor"> {
  const found = devices.get(path) ?? [];
  if (found.length !== 1 || found[0]!.type !== "b")
    throw invalidOption(option, path, "it must be the path of a block device of this host");
  const { major, minor } = found[0]!;
  return { major, minor };
}

function unifiedOf(resources: Resources, { cgroupVersion }: Facts): OciResources["unified"] {
  const entries = Object.entries(resources.unified ?? {});
  if (entries.length === 0) return undefined;
  if (cgroupVersion === 1)
    throw invalidOption("resources.unified", resources.unified, "this host has cgroup v1, which has no such files");
  for (const [file, value] of entries) {
    if (!/^[a-z]\w*(?:\.\w+)+$/.test(file))
      throw invalidOption("resources.unified", file, "its names must be those of files of cgroup v2, like memory.high");
    checkText(`resources.unified[${JSON.stringify(file)}]`, value);
  }
  return Object.fromEntries(entries);
}

const SET = /^\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*$/;

function setOf(resources: Resources, name: "cpusetCpus" | "cpusetMems"): string | undefined {
  const value = resources[name];
  if (value === undefined || value === "") return undefined;
  if (!SET.test(value)) throw invalidOption(`resources.${name}`, value, "it must be numbers and ranges, like 0-2,7");
  return value;
}

function check(resources: Resources, name: keyof Resources, least: number, most: number, allowed: string): void {
  const value = resources[name] as number | undefined;
  if (value !== undefined) checkWhole(`resources.${name}`, value, least, most, allowed);
}

function refuseOnV2(resources: Resources, name: keyof Resources): void {
  const value = resources[name];
  if (value !== undefined)
    throw invalidOption(`resources.${name}`, value, "this host has cgroup v2, which has no such limit");
}

type Defined<T> = { [key in keyof T]?: Exclude<T[key], undefined> };

/** Undefined as a whole when nothing is in it. */
function withoutEmpty<T extends object>(fields: T): Defined<T> | undefined {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return entries.length === 0 ? undefined : (Object.fromEntries(entries) as Defined<T>);
}
