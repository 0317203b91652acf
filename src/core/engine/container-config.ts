/** What a caller wishes of a container. It is kept with its record, as JSON: fields may be added, none may change its meaning. */
export interface ContainerConfig {
  /** The image's reference in its full form; "" with {@link rootfs}. */
  image: string;
  /** An absolute path on the host of a directory that is the root file system; "" with {@link image}. */
  rootfs: string;
  /**
   * Whether it has a directory of its own for what it writes, over the image or `rootfs`. Without one an image's files stay as they are.
   */
  writable: boolean;
  /**
   * Whether the container's processes see their root read-only; if not, they write to the layer of its own or, without one, to `rootfs`.
   */
  readOnly: boolean;

  /** Over the image's entrypoint; `[]` for none at all, undefined for the image's. With it, the image's command does not count. */
  entrypoint?: string[] | undefined;
  /** Undefined: the image's command. */
  args?: string[] | undefined;
  /** `NAME=value`, over the image's; `NAME` alone removes one of the image's. */
  env: string[];
  /** `USER[:GROUP]`, names or numbers; "" is the image's. */
  user: string;
  /** More groups, names or numbers. */
  groupAdd: string[];
  /** Absolute; "" is the image's. It is made when it is not there, where the container may write. */
  workdir: string;
  /** "" is the first 12 characters of the id. */
  hostname: string;
  domainname: string;
  tty: boolean;
  /** Whether there is a stdin that can be written to. */
  openStdin: boolean;
  /** Over the image's: a name or number; "" is the image's, or SIGTERM. */
  stopSignal: string;
  /** In ms, of a stop that names none, before it is killed; undefined: 10,000. */
  stopTimeout?: number | undefined;
  /** Whether a small init of ours is the first process, which reaps and hands on signals. */
  init: boolean;
  /** Whether its first process only waits, and reaps, in place of what the image runs. */
  idle?: boolean | undefined;
  labels: Record<string, string>;

  resources: Resources;
  ulimits: Ulimit[];
  /** Below which cgroup its own is; "" is the daemon's choice. */
  cgroupParent: string;
  /** −1000 to 1000; undefined: 0. */
  oomScoreAdj?: number | undefined;

  mounts: ContainerMount[];
  devices: DeviceMapping[];
  /** `NAME:ADDRESS`, added to /etc/hosts. */
  extraHosts: string[];
  /** In bytes; 0 is 64 MiB. */
  shmSize: number;

  privileged: boolean;
  /** To Docker's default ones. With or without `CAP_`; `ALL` is every one. */
  capAdd: string[];
  /** From Docker's default ones; `ALL` leaves none but those that are added. */
  capDrop: string[];
  noNewPrivileges: boolean;
  /** "default", "unconfined", or a profile as JSON. */
  seccomp: string;
  /** Of AppArmor; "" is none. */
  apparmor: string;
  /** Undefined: the usual ones. */
  maskedPaths?: string[] | undefined;
  readonlyPaths?: string[] | undefined;
  sysctls: Record<string, string>;

  network: NetworkMode;
  pid: NamespaceMode;
  ipc: NamespaceMode;
  uts: NamespaceMode;
  cgroupns: NamespaceMode;
  userns: UserNamespaceMode;

  /** A name or path; "" is the daemon's. */
  runtime: string;
  /** What becomes of its output when it is started without streams; undefined is a file of the usual size. */
  log?: LogConfig | undefined;

  ports?: PortMapping[] | undefined;
  /** Whether all ports that the image exposes are published, on ports that are chosen. */
  publishAll?: boolean | undefined;
  /** What it may reach, `NAME:PORT`; undefined: everything. */
  egress?: string[] | undefined;
  /** Name servers in place of the host's, for what is no name of a container. */
  dns?: string[] | undefined;
  dnsSearch?: string[] | undefined;
  dnsOptions?: string[] | undefined;

  restart?: RestartPolicy | undefined;
  /** Undefined: the image's. */
  health?: HealthCheck | undefined;
}

export interface PortMapping {
  protocol: "tcp" | "udp";
  containerPort: number;
  /** "" is all addresses of the host. */
  hostAddress: string;
  /** 0: one is chosen. */
  hostPort: number;
  /** The last of a range that one is chosen of; 0: there is no range. */
  hostPortEnd: number;
}

export interface RestartPolicy {
  name: "no" | "on-failure" | "always" | "unless-stopped";
  /** Of on-failure; 0 is without an end. */
  maxRetries: number;
}

/** Times are in ms; 0 is the image's, or the usual one. */
export interface HealthCheck {
  /** `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`; `[]` is the image's. */
  test: string[];
  interval: number;
  timeout: number;
  startPeriod: number;
  startInterval: number;
  retries: number;
}

export interface LogConfig {
  driver: "file" | "none";
  /** Of a file, in bytes; 0 is the usual size. */
  maxSize: number;
  /** How many of them are kept; 0 is the usual number. */
  maxFiles: number;
}

/** `private`: its own; `shareable`: its own, which others may join; `none`: of ipc only, without /dev/shm. */
export type NamespaceMode =
  | { mode: "private" | "host" | "shareable" | "none" }
  | { mode: "container"; container: string };

/** `none`: its own, with loopback only; `attached`: its own, on these networks, the first of which has its default route. */
export type NetworkMode =
  | { mode: "none" | "host" }
  | { mode: "attached"; networks: NetworkAttachment[] }
  | { mode: "container"; container: string }
  | { mode: "path"; path: string };

export interface NetworkAttachment {
  /** A name or id. */
  network: string;
  /** By which others on it find it, besides its name and the first 12 digits of its id. */
  aliases: string[];
  /** Without the length of the prefix; "": one is chosen. */
  address: string;
  address6: string;
  /** "" is made of the address. */
  mac: string;
}

/** `host`: none of its own. `auto`: a range of ids that no other container has. */
export type UserNamespaceMode = { mode: "host" | "auto" } | { mode: "map"; uids: IdMap[]; gids: IdMap[] };

export interface IdMap {
  inside: number;
  outside: number;
  length: number;
}

export interface Resources {
  /** In bytes, as all that follows about memory; undefined is no limit. */
  memory?: number | undefined;
  /** Memory and swap; −1 is no limit; undefined: twice `memory`, where that is given and the kernel counts swap. */
  memorySwap?: number | undefined;
  memoryReservation?: number | undefined;
  /** 0 to 100. */
  memorySwappiness?: number | undefined;
  kernelMemoryTcp?: number | undefined;
  oomKillDisable?: boolean | undefined;
  /** Processors: 0.5 is half of one. Not together with quota and period. */
  cpus?: number | undefined;
  cpuShares?: number | undefined;
  /** In microseconds, as the others. */
  cpuPeriod?: number | undefined;
  cpuQuota?: number | undefined;
  cpuRealtimePeriod?: number | undefined;
  cpuRealtimeRuntime?: number | undefined;
  /** `0-2,7` */
  cpusetCpus?: string | undefined;
  cpusetMems?: string | undefined;
  /** Processes and threads; −1 is no limit. */
  pids?: number | undefined;
  /** 10 to 1000. */
  blkioWeight?: number | undefined;
  blkioWeightDevice?: { path: string; weight: number }[] | undefined;
  blkioDeviceReadBps?: DeviceRate[] | undefined;
  blkioDeviceWriteBps?: DeviceRate[] | undefined;
  blkioDeviceReadIOps?: DeviceRate[] | undefined;
  blkioDeviceWriteIOps?: DeviceRate[] | undefined;
  /** As the devices cgroup has them: `c 13:* rwm`. */
  deviceCgroupRules?: string[] | undefined;
  /** Limits of cgroup v2 by the names of its files. */
  unified?: Record<string, string> | undefined;
}

export interface DeviceRate {
  /** On the host. */
  path: string;
  rate: number;
}

/** −1 is no limit. */
export interface Ulimit {
  /** `nofile` */
  name: string;
  soft: number;
  hard: number;
}

export interface ContainerMount {
  type: "bind" | "tmpfs" | "volume";
  /** On the host, absolute; "" of a tmpfs. Of a volume its name; "" is one without, which goes with its container. */
  source: string;
  destination: string;
  readOnly: boolean;
  /** Of a bind: whether what is mounted below its source comes along; and is read-only, too, where the kernel can. */
  recursive: boolean;
  /** Of a bind: `private`, `rprivate`, `slave`, `rslave`, `shared`, `rshared`; "" is rprivate. */
  propagation: string;
  /** Of a bind: whether its source is made, as a directory, when it is not there. */
  createSource: boolean;
  /** Of a tmpfs, in bytes; 0 is no limit of its own. */
  size: number;
  /** Of a tmpfs; undefined: 01777. */
  mode?: number | undefined;
  uid?: number | undefined;
  gid?: number | undefined;
  /** As mount(8) has them: `noexec`. */
  options: string[];
  /** Of a volume: whether it begins empty, and not with what the image has at its destination. */
  noCopy?: boolean | undefined;
}

export interface DeviceMapping {
  /** On the host. A directory stands for all devices in it. */
  source: string;
  /** "" is the same as on the host. */
  destination: string;
  /** Of `r`, `w`, `m`; "" is all three. */
  permissions: string;
}
