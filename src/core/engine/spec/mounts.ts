import { dev, devpts, mqueue, PLAIN, sharedMemory, TTY_GROUP } from "../../../contract/system-mounts.js";
import type { ContainerConfig, ContainerMount, IdMap } from "../container-config.js";
import { type HostFacts, isAtLeast, type KernelVersion } from "./host-facts.js";
import { absolutePath, checkText, checkWhole, invalidOption } from "./invalid-option.js";
import type { OciMount } from "./oci-spec.js";

/** Files of the host that the engine has made for a container, by what they are there. */
export interface ContainerFiles {
  hosts?: string | undefined;
  hostname?: string | undefined;
  resolvConf?: string | undefined;
}

type MountWishes = Pick<
  ContainerConfig,
  "mounts" | "shmSize" | "privileged" | "readOnly" | "network" | "ipc" | "userns"
>;

/** Where on the host the files of a container's volume are. */
export interface VolumeSource {
  source: string;
  destination: string;
  readOnly: boolean;
}

interface MountInputs {
  config: MountWishes;
  /** Those that the config has, and those that the image wants. */
  volumes: readonly VolumeSource[];
  files: ContainerFiles;
  /** Of a container in a user namespace. */
  gids: readonly IdMap[] | undefined;
  /** A directory of the host that is /dev/shm; undefined: the container's own. */
  shm: string | undefined;
  /** On the host. */
  init: string | undefined;
  host: Pick<HostFacts, "sharedSources" | "kernel">;
}

const DEFAULT_SHM_SIZE = 64 << 20;

/** In bytes, of a container's own /dev/shm. @throws Failure (invalid-argument) */
export function sharedMemorySize({ shmSize }: Pick<ContainerConfig, "shmSize">): number {
  checkWhole("shmSize", shmSize, 0, Number.MAX_SAFE_INTEGER, "a number of bytes, or 0 for 64 MiB");
  return shmSize || DEFAULT_SHM_SIZE;
}

/** @throws Failure (invalid-argument) */
export function mountsOf(inputs: MountInputs): OciMount[] {
  const given = userMounts(inputs);
  const covered = new Set(given.map(({ destination }) => destination));
  const before = [...systemMounts(inputs), ...fileMounts(inputs)].filter(
    ({ destination }) => !covered.has(destination),
  );
  // What is mounted in another one comes after it.
  const depth = ({ destination }: OciMount) => destination.split("/").length;
  return [...before, ...given].toSorted((a, b) => depth(a) - depth(b));
}

/** Where the init program is in a container: not among the image's files, unless there is no other place. */
export function initPlace(mounts: readonly ContainerMount[]): string {
  const isTaken = mounts.some(({ destination }) => ["/dev", "/dev/init"].includes(absolutePath("", destination)));
  return isTaken ? "/sbin/docker-init" : "/dev/init";
}

/** What every program expects, as with Docker. */
function systemMounts({ config, gids, shm, init }: MountInputs): OciMount[] {
  const { privileged, network, ipc, userns } = config;
  const size = sharedMemorySize(config);
  const access = privileged ? "rw" : "ro";
  const hasTtyGroup = gids?.some(({ inside, length }) => inside <= TTY_GROUP && TTY_GROUP < inside + length) ?? true;
  const shared = ipc.mode === "host" ? "/dev/shm" : shm;
  const mounts: OciMount[] = [
    { destination: "/proc", type: "proc", source: "proc", options: [...PLAIN] },
    dev(),
    devpts(hasTtyGroup),
    // A user namespace may see what is told of a network only if that is its own.
    userns.mode !== "host" && network.mode !== "none" && network.mode !== "attached"
      ? { destination: "/sys", type: "bind", source: "/sys", options: ["rbind", ...PLAIN, access] }
      : { destination: "/sys", type: "sysfs", source: "sysfs", options: [...PLAIN, access] },
    { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: [...PLAIN, "relatime", access] },
    mqueue(),
  ];
  if (shared !== undefined)
    mounts.push({ destination: "/dev/shm", type: "bind", source: shared, options: ["rbind", "rprivate"] });
  else if (ipc.mode !== "none") mounts.push(sharedMemory(size));
  if (init !== undefined)
    mounts.push({
      destination: initPlace(config.mounts),
      type: "bind",
      source: init,
      options: ["bind", "rprivate", "ro"],
    });
  return mounts;
}

function fileMounts({ config, files }: MountInputs): OciMount[] {
  const places = { "/etc/resolv.conf": files.resolvConf, "/etc/hostname": files.hostname, "/etc/hosts": files.hosts };
  const access = config.readOnly ? "ro" : "rw";
  return Object.entries(places).flatMap(([destination, source]) =>
    source === undefined ? [] : [{ destination, type: "bind", source, options: ["rbind", "rprivate", access] }],
  );
}

function userMounts({ config, volumes, host }: MountInputs): OciMount[] {
  const taken = new Set<string>();
  const given = config.mounts.map((mount, index) => {
    const option = `mounts[${index}]`;
    const destination = absolutePath(`${option}.destination`, mount.destination);
    if (destination === "/")
      throw invalidOption(
        `${option}.destination`,
        mount.destination,
        "it can't be the root: that is rootfs, or the image",
      );
    if (taken.has(destination))
      throw invalidOption(`${option}.destination`, mount.destination, "two mounts can't be at the same place");
    taken.add(destination);
    if (mount.type !== "tmpfs" && config.userns.mode !== "host") checkFlagsInside(option, mount, config.userns.mode);
    if (mount.type === "bind") return bindOf(option, mount, destination, host);
    if (mount.type === "tmpfs") return tmpfsOf(option, mount, destination);
    if (mount.type !== "volume")
      throw invalidOption(`${option}.type`, mount.type, 'it must be "bind", "tmpfs" or "volume"');
    const volume = volumes.find((one) => one.destination === destination);
    if (volume === undefined) throw new Error(`no volume is given for ${destination}`);
    return volumeOf(volume, host, flagsOf(option, mount.options, []));
  });
  const ofImage = volumes.filter(({ destination }) => !taken.has(destination)).map((volume) => volumeOf(volume, host));
  return [...given, ...ofImage];
}

function volumeOf(
  { source, destination, readOnly }: VolumeSource,
  { kernel }: MountInputs["host"],
  flags: readonly string[] = [],
): OciMount {
  return {
    destination,
    type: "bind",
    source,
    options: ["rbind", ...accessOf(readOnly, true, kernel), "rprivate", ...flags],
  };
}

/** What is mounted below a read-only bind is read-only by itself, which a runtime can change only since Linux 5.12. */
function accessOf(readOnly: boolean, recursive: boolean, kernel: KernelVersion): string[] {
  if (!readOnly) return ["rw"];
  return recursive && isAtLeast(kernel, [5, 12]) ? ["ro", "rro"] : ["ro"];
}

const PROPAGATIONS = ["private", "rprivate", "slave", "rslave", "shared", "rshared"];

/** Of the kernel's, by what turns each off or on again; the last of a kind counts. */
const FLAGS: readonly (readonly string[])[] = [
  ["nosuid", "suid"],
  ["nodev", "dev"],
  ["noexec", "exec"],
  ["noatime", "atime", "relatime", "norelatime", "strictatime", "nostrictatime"],
  ["nodiratime", "diratime"],
];

/** The kernel lets nobody in a user namespace change how times of access are kept on a mount of the host. */
function checkFlagsInside(option: string, { options }: ContainerMount, mode: string): void {
  const flag = options.find((one) => one.endsWith("atime"));
  if (flag !== undefined) throw invalidOption(`${option}.options`, flag, `it can't be changed with userns "${mode}"`);
}

function bindOf(
  option: string,
  { source, readOnly, recursive, propagation, options }: ContainerMount,
  destination: string,
  { sharedSources, kernel }: MountInputs["host"],
): OciMount {
  const from = absolutePath(`${option}.source`, source);
  const spread = propagation || "rprivate";
  if (!PROPAGATIONS.includes(spread))
    throw invalidOption(`${option}.propagation`, propagation, `it must be one of ${PROPAGATIONS.join(", ")}`);
  if (spread.endsWith("shared") && !sharedSources.has(source)) {
    const why = `${JSON.stringify(source)} is on no shared mount of this host: mount --make-shared makes one`;
    throw invalidOption(`${option}.propagation`, propagation, why);
  }
  const flags = flagsOf(option, options, []);
  const access = accessOf(readOnly, recursive, kernel);
  return {
    destination,
    type: "bind",
    source: from,
    options: [recursive ? "rbind" : "bind", ...access, spread, ...flags],
  };
}

/** What a tmpfs can have besides. */
const TMPFS_SETTING =
  /^(?:size=\d+[kmg%]?|mode=[0-7]{1,4}|uid=\d{1,10}|gid=\d{1,10}|nr_inodes=\d+[kmg]?|nr_blocks=\d+[kmg]?)$/i;

function tmpfsOf(
  option: string,
  { source, readOnly, recursive, propagation, createSource, size, mode, uid, gid, options }: ContainerMount,
  destination: string,
): OciMount {
  for (const [name, value] of Object.entries({ source, propagation, createSource, recursive }))
    if (value) throw invalidOption(`${option}.${name}`, value, "it is for binds: a tmpfs has none");
  checkWhole(`${option}.size`, size, 0, Number.MAX_SAFE_INTEGER, "a number of bytes, or 0 for no limit of its own");
  if (mode !== undefined) checkWhole(`${option}.mode`, mode, 0, 0o7777, "a file mode, from 0 to 0o7777");
  for (const [name, id] of Object.entries({ uid, gid }))
    if (id !== undefined) checkWhole(`${option}.${name}`, id, 0, 2 ** 32 - 2, "an id, from 0 to 4294967294");
  const settings = options.filter((one) => TMPFS_SETTING.test(one));
  const flags = flagsOf(
    option,
    options.filter((one) => !settings.includes(one)),
    ["noexec", "nosuid", "nodev"],
  );
  const has = (name: string) => settings.some((one) => one.toLowerCase().startsWith(`${name}=`));
  const fields = {
    size: size === 0 ? undefined : size,
    mode: mode?.toString(8) ?? (has("mode") ? undefined : "1777"),
    uid,
    gid,
  };
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined && has(name)) {
      const why = `${option}.options has ${name} as well`;
      throw invalidOption(`${option}.${name}`, value, why);
    }
  }
  const own = Object.entries(fields).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
  return {
    destination,
    type: "tmpfs",
    source: "tmpfs",
    options: [...flags, readOnly ? "ro" : "rw", "rprivate", ...settings, ...own],
  };
}

/** Flags over those that are there by default. @throws Failure (invalid-argument) */
function flagsOf(option: string, given: readonly string[], defaults: readonly string[]): string[] {
  const byKind = new Map(defaults.map((flag) => [FLAGS.findIndex((kind) => kind.includes(flag)), flag]));
  for (const [index, flag] of given.entries()) {
    const kind = FLAGS.findIndex((names) => names.includes(flag));
    if (kind === -1) {
      checkText(`${option}.options[${index}]`, flag);
      throw invalidOption(`${option}.options`, flag, `it must be one of ${FLAGS.flat().join(", ")}`);
    }
    byKind.set(kind, flag);
  }
  return [...byKind.values()];
}

/** How mounts go between host and container as a whole, where a bind needs that; undefined: the runtime's own way. */
export function rootPropagation(mounts: readonly ContainerMount[]): string | undefined {
  const ends = (what: string) => mounts.some(({ type, propagation }) => type === "bind" && propagation.endsWith(what));
  if (ends("shared")) return "shared";
  return ends("slave") ? "rslave" : undefined;
}
