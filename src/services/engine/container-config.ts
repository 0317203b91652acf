import { WHOLE_LIMITS } from "../../contract/limit-names.js";
import type * as core from "../../core/engine/container-config.js";
import { refusal } from "../../core/failure/failure.js";
import type * as proto from "../../proto/containerdts/engine/v1/engine.js";
import { ContainerConfig as ConfigMessage } from "../../proto/containerdts/engine/v1/engine.js";
import { number, quoted } from "./fields.js";
import { serverConfigMessage, serverConfigOf } from "./server-config.js";

/** @throws Failure (invalid-argument) that quotes what is wrong */
export function configOf(message: proto.ContainerConfig): core.ContainerConfig {
  return {
    image: message.image,
    rootfs: message.rootfs,
    writable: message.writable,
    readOnly: message.readOnly,
    entrypoint: message.entrypoint?.values,
    args: message.args?.values,
    env: message.env,
    user: message.user,
    groupAdd: message.groupAdd,
    workdir: message.workdir,
    hostname: message.hostname,
    domainname: message.domainname,
    tty: message.tty,
    openStdin: message.openStdin,
    stopSignal: message.stopSignal,
    stopTimeout: optional("stop_timeout", message.stopTimeout),
    init: message.init,
    ...(message.idle && { idle: true }),
    labels: message.labels,
    resources: resourcesOf(message.resources),
    ulimits: message.ulimits.map(({ name, soft, hard }) => ({
      name,
      soft: number(`ulimit ${name}`, soft),
      hard: number(`ulimit ${name}`, hard),
    })),
    cgroupParent: message.cgroupParent,
    oomScoreAdj: message.oomScoreAdj,
    mounts: message.mounts.map(mountOf),
    devices: message.devices,
    extraHosts: message.extraHosts,
    shmSize: number("shm_size", message.shmSize),
    privileged: message.privileged,
    capAdd: message.capAdd,
    capDrop: message.capDrop,
    noNewPrivileges: message.noNewPrivileges,
    seccomp: message.seccomp || "default",
    apparmor: message.apparmor,
    maskedPaths: message.maskedPaths?.values,
    readonlyPaths: message.readonlyPaths?.values,
    sysctls: message.sysctls,
    pid: namespaceOf("pid", message.pid),
    ipc: namespaceOf("ipc", message.ipc, ["shareable", "none"]),
    uts: namespaceOf("uts", message.uts),
    cgroupns: namespaceOf("cgroupns", message.cgroupns),
    userns: usernsOf(message),
    runtime: message.runtime,
    log: logOf(message.log),
    ...serverConfigOf(message),
  };
}

function logOf(message: proto.LogConfig | undefined): core.LogConfig | undefined {
  if (message === undefined) return undefined;
  const { driver, maxSize, maxFiles } = message;
  if (driver !== "" && driver !== "file" && driver !== "none")
    throw refusal(`log driver ${JSON.stringify(driver)}: the engine has "file" and "none"`);
  return { driver: driver || "file", maxSize: number("log max_size", maxSize), maxFiles };
}

/** What {@link configOf} makes the same of again. */
export function configMessage(config: core.ContainerConfig): proto.ContainerConfig {
  const { resources, userns } = config;
  const maps = userns.mode === "map" ? { uidMap: userns.uids, gidMap: userns.gids } : {};
  return ConfigMessage.fromPartial({
    ...config,
    entrypoint: textsMessage(config.entrypoint),
    args: textsMessage(config.args),
    maskedPaths: textsMessage(config.maskedPaths),
    readonlyPaths: textsMessage(config.readonlyPaths),
    stopTimeout: bigint(config.stopTimeout),
    resources: resourcesMessage(resources),
    ulimits: config.ulimits.map(({ name, soft, hard }) => ({ name, soft: BigInt(soft), hard: BigInt(hard) })),
    mounts: config.mounts.map((mount) => ({ ...mount, size: BigInt(mount.size) })),
    shmSize: BigInt(config.shmSize),
    pid: modeText(config.pid),
    ipc: modeText(config.ipc),
    uts: modeText(config.uts),
    cgroupns: modeText(config.cgroupns),
    userns: userns.mode,
    log: config.log && { ...config.log, maxSize: BigInt(config.log.maxSize) },
    ...serverConfigMessage(config),
    ...maps,
  });
}

/** Fields that are not asked for are not there. @throws Failure (invalid-argument) */
export function resourcesOf(message: proto.Resources | undefined): core.Resources {
  if (message === undefined) return {};
  const resources: core.Resources = {};
  for (const name of WHOLE_LIMITS) {
    const value = optional(name, message[name]);
    if (value !== undefined) resources[name] = value;
  }
  const { oomKillDisable, cpus, cpusetCpus, cpusetMems, deviceCgroupRules, unified } = message;
  if (oomKillDisable !== undefined) resources.oomKillDisable = oomKillDisable;
  if (cpus !== undefined) resources.cpus = cpus;
  if (cpusetCpus !== undefined) resources.cpusetCpus = cpusetCpus;
  if (cpusetMems !== undefined) resources.cpusetMems = cpusetMems;
  if (deviceCgroupRules.length > 0) resources.deviceCgroupRules = deviceCgroupRules;
  if (Object.keys(unified).length > 0) resources.unified = unified;
  const rates = (list: proto.DeviceRate[]) =>
    list.map(({ path, rate }) => ({ path, rate: number(`rate of ${path}`, rate) }));
  if (message.blkioWeightDevice.length > 0)
    resources.blkioWeightDevice = rates(message.blkioWeightDevice).map(({ path, rate: weight }) => ({ path, weight }));
  if (message.blkioDeviceReadBps.length > 0) resources.blkioDeviceReadBps = rates(message.blkioDeviceReadBps);
  if (message.blkioDeviceWriteBps.length > 0) resources.blkioDeviceWriteBps = rates(message.blkioDeviceWriteBps);
  if (message.blkioDeviceReadIops.length > 0) resources.blkioDeviceReadIOps = rates(message.blkioDeviceReadIops);
  if (message.blkioDeviceWriteIops.length > 0) resources.blkioDeviceWriteIOps = rates(message.blkioDeviceWriteIops);
  return resources;
}

function resourcesMessage(resources: core.Resources) {
  const numbers = Object.fromEntries(WHOLE_LIMITS.map((name) => [name, bigint(resources[name])]));
  const rates = (list: readonly core.DeviceRate[] = []) => list.map(({ path, rate }) => ({ path, rate: BigInt(rate) }));
  const { oomKillDisable, cpus, cpusetCpus, cpusetMems } = resources;
  return {
    ...{ oomKillDisable, cpus, cpusetCpus, cpusetMems },
    ...numbers,
    deviceCgroupRules: resources.deviceCgroupRules ?? [],
    unified: resources.unified ?? {},
    blkioWeightDevice: rates(resources.blkioWeightDevice?.map(({ path, weight: rate }) => ({ path, rate }))),
    blkioDeviceReadBps: rates(resources.blkioDeviceReadBps),
    blkioDeviceWriteBps: rates(resources.blkioDeviceWriteBps),
    blkioDeviceReadIops: rates(resources.blkioDeviceReadIOps),
    blkioDeviceWriteIops: rates(resources.blkioDeviceWriteIOps),
  };
}

function mountOf(message: proto.Mount): core.ContainerMount {
  const { type } = message;
  if (type !== "bind" && type !== "tmpfs" && type !== "volume")
    throw refusal(`mount of type ${quoted(type)}: "bind", "tmpfs" or "volume"`);
  const { noCopy, ...mount } = message;
  return { ...mount, type, ...(noCopy && { noCopy }), size: number(`size of ${message.destination}`, message.size) };
}

function namespaceOf(name: string, text: string, more: readonly ("shareable" | "none")[] = []): core.NamespaceMode {
  if (text === "" || text === "private") return { mode: "private" };
  if (text === "host") return { mode: "host" };
  const other = more.find((mode) => mode === text);
  if (other !== undefined) return { mode: other };
  const container = containerOf(text);
  if (container !== undefined) return { mode: "container", container };
  const modes = ["private", "host", ...more].map((mode) => `"${mode}"`).join(", ");
  throw refusal(`${name} ${quoted(text)}: ${modes} or "container:ID"`);
}

function containerOf(text: string): string | undefined {
  return /^container:(.+)$/s.exec(text)?.[1];
}

function usernsOf({ userns, uidMap: uids, gidMap: gids }: proto.ContainerConfig): core.UserNamespaceMode {
  if (userns !== "map" && uids.length + gids.length > 0)
    throw refusal(`uid_map and gid_map go with userns "map", not ${quoted(userns)}`);
  if (userns === "" || userns === "host") return { mode: "host" };
  if (userns === "auto") return { mode: "auto" };
  if (userns !== "map") throw refusal(`userns ${quoted(userns)}: "host", "auto" or "map"`);
  if (uids.length === 0 || gids.length === 0) throw refusal('userns "map" needs uid_map and gid_map');
  return { mode: "map", uids, gids };
}

function modeText(mode: core.NamespaceMode): string {
  return mode.mode === "container" ? `container:${mode.container}` : mode.mode;
}

function textsMessage(values: string[] | undefined): proto.Texts | undefined {
  return values && { values };
}

function optional(name: string, value: bigint | undefined): number | undefined {
  return value === undefined ? undefined : number(name, value);
}

function bigint(value: number | undefined): bigint | undefined {
  return value === undefined ? undefined : BigInt(value);
}
