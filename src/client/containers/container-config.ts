import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { WHOLE_LIMITS } from "../../contract/limit-names.js";
import { signalNumber } from "../../contract/signals.js";
import {
  ContainerConfig,
  type CreateRequest,
  type Mount,
  type Resources,
} from "../../proto/containerdts/engine/v1/engine.js";
import { fullName } from "../images/images.js";
import { isOwnNetwork, networkMessage } from "../networks/network-options.js";
import { portMessages } from "../networks/port-options.js";
import type { Environment } from "../options/environment.js";
import { volumeMount } from "../volumes/volume-options.js";
import type { ContainerLimits, ContainerOptions, OfContainer, TmpfsOptions } from "./container-options.js";
import { healthMessage, restartMessage } from "./policies.js";

/** `run` is for what nobody trusts; `create` and `start` do as Docker does. */
export type Defaults = "run" | "docker";

/** What the daemon is told of a container; it adds no defaults of its own. */
export function configOf(
  options: ContainerOptions,
  defaults: Defaults,
  tty = false,
  openStdin = false,
): ContainerConfig {
  const { image, rootfs, privileged = false } = options;
  const strict = defaults === "run";
  const writable = options.writable ?? (!strict && image !== undefined && options.readOnly !== true);
  const userns = options.userns ?? (strict && hasOwnIds(options) ? "auto" : "host");
  return ContainerConfig.fromPartial({
    image: image === undefined ? "" : fullName(image),
    rootfs: rootfs === undefined ? "" : resolve(rootfs),
    writable,
    readOnly: options.readOnly ?? (strict && !writable),
    entrypoint: textsOf(options.entrypoint),
    args: textsOf(options.args),
    env: variablesOf(options.env),
    user: String(options.user ?? ""),
    groupAdd: (options.groupAdd ?? []).map(String),
    workdir: options.workdir ?? "",
    hostname: options.hostname ?? "",
    domainname: options.domainname ?? "",
    tty,
    openStdin,
    stopSignal: options.stopSignal ?? "",
    stopTimeout: milliseconds(options.stopTimeout),
    init: options.init ?? false,
    labels: { ...options.labels },
    resources: resourcesOf(options.limits),
    ulimits: Object.entries(options.ulimits ?? {}).map(([name, limit]) => {
      const { soft, hard } = typeof limit === "number" ? { soft: limit, hard: limit } : limit;
      return { name, soft: BigInt(soft), hard: BigInt(hard) };
    }),
    cgroupParent: options.cgroupParent ?? "",
    oomScoreAdj: options.oomScoreAdj,
    mounts: mountsOf(options),
    devices: (options.devices ?? []).map((device) => {
      const { source, destination = "", permissions = "" } = typeof device === "string" ? { source: device } : device;
      return { source, destination, permissions };
    }),
    extraHosts: Object.entries(options.hosts ?? {}).map(([name, address]) => `${name}:${address}`),
    shmSize: BigInt(options.shmSize ?? 0),
    log: options.log && {
      driver: options.log.driver ?? "file",
      maxSize: BigInt(options.log.maxSize ?? 0),
      maxFiles: options.log.maxFiles ?? 0,
    },
    privileged,
    capAdd: [...(options.capabilities?.add ?? [])],
    capDrop: [...(options.capabilities?.drop ?? [])],
    noNewPrivileges: options.noNewPrivileges ?? (strict && !privileged),
    seccomp: seccompText(options),
    apparmor: options.apparmor ?? "",
    maskedPaths: textsOf(options.maskedPaths),
    readonlyPaths: textsOf(options.readonlyPaths),
    sysctls: Object.fromEntries(Object.entries(options.sysctls ?? {}).map(([name, value]) => [name, String(value)])),
    restart: restartMessage(options.restart),
    health: healthMessage(options.healthcheck),
    ...networkMessage(options.network ?? (wantsNetwork(options) ? "bridge" : "none")),
    ports: (options.ports ?? []).flatMap((port) => portMessages(port)),
    publishAll: options.publishAll ?? false,
    dns: [...(options.dns ?? [])],
    dnsSearch: [...(options.dnsSearch ?? [])],
    dnsOptions: [...(options.dnsOptions ?? [])],
    pid: modeText(options.pid ?? "private"),
    ipc: modeText(options.ipc ?? "private"),
    uts: modeText(options.uts ?? "private"),
    cgroupns: options.cgroupns ?? "private",
    userns: typeof userns === "string" ? userns : "map",
    ...(typeof userns === "object" && { uidMap: [...userns.uids], gidMap: [...userns.gids] }),
    runtime: options.runtime ?? "",
  });
}

/** Whether ids of its own change nothing that was asked for: those of a shared directory or namespace are others. */
function hasOwnIds({ image, writable, privileged, network, pid, ipc, uts }: ContainerOptions): boolean {
  if (privileged || (image === undefined && !writable)) return false;
  const areOwn = [pid, ipc, uts].every(
    (namespace) => namespace === undefined || ["none", "private", "shareable"].includes(namespace as string),
  );
  return areOwn && isOwnNetwork(network);
}

function textsOf(values: readonly string[] | undefined): { values: string[] } | undefined {
  return values && { values: [...values] };
}

/** A name alone takes a variable of the image away. */
export function variablesOf(env: Environment = {}): string[] {
  if (Array.isArray(env)) return [...env];
  return Object.entries(env).map(([name, value]) => (value === undefined ? name : `${name}=${value}`));
}

function seccompText({ seccomp, privileged }: ContainerOptions): string {
  if (typeof seccomp === "object") return JSON.stringify(seccomp);
  return seccomp ?? (privileged ? "unconfined" : "default");
}

function modeText(mode: string | OfContainer): string {
  return typeof mode === "string" ? mode : `container:${mode.container}`;
}

/** Whether what was asked for makes no sense without a network. */
function wantsNetwork({ ports = [], publishAll = false, dns = [], dnsSearch = [] }: ContainerOptions): boolean {
  return publishAll || ports.length + dns.length + dnsSearch.length > 0;
}

function mountsOf({ mounts = [], tmpfs = [], volumes = {} }: ContainerOptions): Mount[] {
  const none = {
    source: "",
    readOnly: false,
    recursive: false,
    propagation: "",
    createSource: false,
    size: 0n,
    noCopy: false,
  };
  const ofTmpfs = ([destination, { size = 0, mode, uid, gid, options = [] }]: [string, TmpfsOptions]): Mount => ({
    ...none,
    type: "tmpfs",
    destination,
    size: BigInt(size),
    ...{ mode, uid, gid },
    options: [...options],
  });
  const inMemory: [string, TmpfsOptions][] = isList(tmpfs) ? tmpfs.map((path) => [path, {}]) : Object.entries(tmpfs);
  return [
    ...mounts.map(({ source, destination, readOnly, recursive, propagation, createSource }) => ({
      ...none,
      type: "bind",
      source: resolve(source),
      destination,
      readOnly: readOnly ?? false,
      recursive: recursive ?? true,
      propagation: propagation ?? "",
      createSource: createSource ?? false,
      ...{ mode: undefined, uid: undefined, gid: undefined },
      options: [],
    })),
    ...inMemory.map(ofTmpfs),
    ...Object.entries(volumes).map(([path, volume]) => volumeMount(path, volume, { ...none, options: [] })),
  ];
}

function isList<T>(value: readonly string[] | T): value is readonly string[] {
  return Array.isArray(value);
}

export function resourcesOf(limits: ContainerLimits = {}): Resources {
  const rates = (list: readonly { path: string; rate: number }[] = []) =>
    list.map(({ path, rate }) => ({ path, rate: BigInt(rate) }));
  const { oomKillDisable, cpus, cpusetCpus, cpusetMems } = limits;
  return {
    ...{ oomKillDisable, cpus, cpusetCpus, cpusetMems },
    ...Object.fromEntries(
      WHOLE_LIMITS.flatMap((name) => (limits[name] === undefined ? [] : [[name, BigInt(limits[name])]])),
    ),
    blkioWeightDevice: rates(limits.blkioWeightDevice?.map(({ path, weight }) => ({ path, rate: weight }))),
    blkioDeviceReadBps: rates(limits.blkioDeviceReadBps),
    blkioDeviceWriteBps: rates(limits.blkioDeviceWriteBps),
    blkioDeviceReadIops: rates(limits.blkioDeviceReadIops),
    blkioDeviceWriteIops: rates(limits.blkioDeviceWriteIops),
    deviceCgroupRules: [...(limits.deviceCgroupRules ?? [])],
    unified: { ...limits.unified },
  };
}

/** Whole ones, as the wire has them; what is farther away than those reach is none. */
export function milliseconds(ms: number | undefined): bigint | undefined {
  return ms === undefined ? undefined : BigInt(Math.min(Math.ceil(ms), Number.MAX_SAFE_INTEGER));
}

/** What is asked for of a new container, and was not said otherwise. */
export function createRequest({
  id = randomBytes(32).toString("hex"),
  name = "",
  config,
  owned = false,
  lifetime,
  ttl,
  autoRemove = false,
}: {
  id?: string | undefined;
  name?: string | undefined;
  config: ContainerConfig | undefined;
  owned?: boolean | undefined;
  /** In ms, as `ttl`; undefined or infinite is none. */
  lifetime?: number | undefined;
  ttl?: number | undefined;
  autoRemove?: boolean | undefined;
}): CreateRequest {
  return { id, name, config, owned, lifetime: lifetimeOf(lifetime), ttl: lifetimeOf(ttl), autoRemove };
}

/** 0 is none. */
export function lifetimeOf(ms = Number.POSITIVE_INFINITY): bigint {
  return ms === Number.POSITIVE_INFINITY ? 0n : milliseconds(ms)!;
}

export function signalText(signal: string | number | undefined): string {
  return signal === undefined ? "" : String(signalNumber(signal));
}
