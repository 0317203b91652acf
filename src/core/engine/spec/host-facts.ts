import { constants, existsSync, readFileSync, type Stats } from "node:fs";
import { lstat, mkdir, readdir, realpath, stat } from "node:fs/promises";
import { hostname, release } from "node:os";
import { join } from "node:path";
import { CAPABILITIES } from "../../../contract/capabilities.js";
import { type Hierarchy, reachableHierarchies } from "../../../system/cgroup/mounts.js";
import { hasCode } from "../../../system/linux/libc.js";
import { isSharedMount } from "../../../system/mount/mountinfo.js";
import { onForeignFiles } from "../../files/foreign-files.js";
import type { ContainerConfig } from "../container-config.js";
import { invalidOption } from "./invalid-option.js";

/** What of this machine a spec depends on. */
export interface HostFacts {
  cgroupVersion: 1 | 2;
  /** Whether systemd makes the cgroups, as the runtime is told by `--systemd-cgroup`. */
  systemdCgroup: boolean;
  /** Whether swap can be limited. */
  swapLimit: boolean;
  /** Those that this daemon has, with `CAP_`, in the kernel's order. */
  capabilities: readonly string[];
  appArmor: boolean;
  hostname: string;
  /** Open files that the kernel lets a process have. */
  mostFiles: number;
  kernel: KernelVersion;
  /** By the paths that a config has. A directory stands for all in it; none: there is no device. */
  devices: ReadonlyMap<string, readonly HostDevice[]>;
  /** Those sources of binds that are on a mount which is shared, so that mounts go both ways. */
  sharedSources: ReadonlySet<string>;
}

export type KernelVersion = readonly [major: number, minor: number];

export interface HostDevice {
  path: string;
  type: "b" | "c";
  major: number;
  minor: number;
  /** Permission bits. */
  mode: number;
  uid: number;
  gid: number;
}

/** What of a config names something on the host. */
export type HostWishes = Pick<ContainerConfig, "devices" | "mounts" | "privileged" | "resources" | "ulimits">;

/** Of an exec, and of a change of limits but for these: all else is the container's. */
export const NO_WISHES: HostWishes = { devices: [], mounts: [], privileged: false, resources: {}, ulimits: [] };

/**
 * Looks for what a config names on this machine. Sources of binds that are missing are made where the config says so.
 * @param signal the caller waits no more
 * @throws Failure: invalid-argument for the source of a bind that is not there; deadline-exceeded for a file system that does not answer;
 *   the caller's reason
 */
export async function prepareHost(
  config: HostWishes,
  { systemdCgroup, signal }: { systemdCgroup: boolean; signal?: AbortSignal | undefined },
): Promise<HostFacts> {
  return {
    ...machineFacts(),
    systemdCgroup,
    hostname: hostname(),
    mostFiles: config.ulimits.some(({ name }) => name === "nofile") ? mostFiles() : Number.POSITIVE_INFINITY,
    devices: await devicesOf(config, signal),
    sharedSources: await findSources(config.mounts, signal),
  };
}

type MachineFacts = Pick<HostFacts, "cgroupVersion" | "swapLimit" | "capabilities" | "appArmor" | "kernel">;

let known: MachineFacts | undefined;

/** What stays as it is while the daemon runs. */
function machineFacts(): MachineFacts {
  if (known !== undefined) return known;
  const hierarchies = reachableHierarchies();
  const memory = hierarchies.find(({ options }) => options.includes("memory"));
  known = {
    // Beside v1's controllers v2 may be mounted without any.
    cgroupVersion: hierarchies.some(isController) ? 1 : 2,
    swapLimit: existsSync(memory ? join(memory.mountPoint, "memory.memsw.limit_in_bytes") : "/proc/swaps"),
    capabilities: ownCapabilities(),
    appArmor: textOf("/sys/module/apparmor/parameters/enabled").startsWith("Y"),
    kernel: kernelVersion(release()),
  };
  return known;
}

function isController({ version, options }: Hierarchy): boolean {
  return version === 1 && !options.some((option) => option.startsWith("name="));
}

function kernelVersion(text: string): KernelVersion {
  const [major = 0, minor = 0] = text.split(".").map((part) => Number.parseInt(part, 10) || 0);
  return [major, minor];
}

/** Whether a kernel is that one or a later one. */
export function isAtLeast([major, minor]: KernelVersion, [wantedMajor, wantedMinor]: KernelVersion): boolean {
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

function ownCapabilities(): string[] {
  const [, digits = "0"] = /^CapPrm:\s*([0-9a-f]+)$/m.exec(textOf("/proc/self/status")) ?? [];
  const mask = BigInt(`0x${digits}`);
  return CAPABILITIES.filter((_, number) => (mask >> BigInt(number)) & 1n);
}

function mostFiles(): number {
  return Number(textOf("/proc/sys/fs/nr_open")) || Number.POSITIVE_INFINITY;
}

function textOf(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** In /dev: they come with every container, are its own, or are no devices but what leads to others'. */
const NOT_HANDED_ON = new Set([
  ...["null", "zero", "full", "random", "urandom", "tty", "console", "ptmx"],
  ...["pts", "shm", "mqueue", "fd", "stdin", "stdout", "stderr", ".lxc", ".lxd-mounts", ".udev"],
]);

/** How deep directories of devices are looked into, and how many devices are taken. */
const MAX_DEPTH = 8;
const MAX_DEVICES = 10_000;

async function devicesOf(
  { devices, privileged, resources }: HostWishes,
  signal: AbortSignal | undefined,
): Promise<Map<string, HostDevice[]>> {
  const paths = new Set([
    ...devices.map(({ source }) => source),
    ...(privileged ? ["/dev"] : []),
    ...[
      ...(resources.blkioWeightDevice ?? []),
      ...(resources.blkioDeviceReadBps ?? []),
      ...(resources.blkioDeviceWriteBps ?? []),
      ...(resources.blkioDeviceReadIOps ?? []),
      ...(resources.blkioDeviceWriteIOps ?? []),
    ].map(({ path }) => path),
  ]);
  const found = new Map<string, HostDevice[]>();
  for (const path of paths) {
    if (!path.startsWith("/") || path.includes("\0")) continue;
    const skipped = path === "/dev" ? NOT_HANDED_ON : new Set<string>();
    const list: HostDevice[] = [];
    await onForeignFiles(path, (limit) => addDevices(path, list, skipped, 0, limit), signal);
    found.set(path, list);
  }
  return found;
}

/** Adds what is at a path, or in it, as far as it is a device; a link at the top is followed. */
async function addDevices(
  path: string,
  list: HostDevice[],
  skipped: ReadonlySet<string>,
  depth: number,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  let info: Stats;
  try {
    info = await (depth === 0 ? stat(path) : lstat(path));
  } catch (error) {
    // Devices come and go.
    if (hasCode(error, "ENOENT") || hasCode(error, "ENOTDIR")) return;
    throw error;
  }
  if (info.isBlockDevice() || info.isCharacterDevice()) {
    if (list.length < MAX_DEVICES) list.push(deviceOf(path, info));
  } else if (info.isDirectory() && depth < MAX_DEPTH) {
    for (const name of await readdir(path))
      if (!skipped.has(name)) await addDevices(join(path, name), list, new Set(), depth + 1, signal);
  }
}

function deviceOf(path: string, { mode, rdev, uid, gid }: Stats): HostDevice {
  return {
    path,
    type: (mode & constants.S_IFMT) === constants.S_IFBLK ? "b" : "c",
    // As glibc has them in one number.
    major: (rdev >>> 8) & 0xfff,
    minor: (rdev & 0xff) | ((rdev >>> 12) & 0xfff00),
    mode: mode & 0o777,
    uid,
    gid,
  };
}

/**
 * Sees to it that the sources of binds are there.
 * @returns those that are on a shared mount, of the binds for which that counts
 */
async function findSources(mounts: ContainerConfig["mounts"], signal: AbortSignal | undefined): Promise<Set<string>> {
  const shared = new Set<string>();
  for (const [index, { type, source, createSource, propagation }] of mounts.entries()) {
    // What is wrong in itself is told by who makes the spec.
    if (type !== "bind" || !source.startsWith("/") || source.includes("\0")) continue;
    const isShared = await onForeignFiles(source, () => findSource(source, createSource, propagation), signal);
    if (isShared === undefined)
      throw invalidOption(`mounts[${index}].source`, source, "it does not exist on this host");
    if (isShared) shared.add(source);
  }
  return shared;
}

/** Undefined: it is not there. */
async function findSource(source: string, createSource: boolean, propagation: string): Promise<boolean | undefined> {
  try {
    await stat(source);
  } catch (error) {
    if (!hasCode(error, "ENOENT")) throw error;
    if (!createSource) return undefined;
    await mkdir(source, { recursive: true, mode: 0o755 });
  }
  return propagation.endsWith("shared") && (await isSharedMount(await realpath(source)));
}
