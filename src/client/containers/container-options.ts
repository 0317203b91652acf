import type { Seccomp } from "../bundle/seccomp.js";
import type { PullOptions } from "../images/images.js";
import type { NetworkOption } from "../networks/network-options.js";
import type { PortOption } from "../networks/port-options.js";
import type { Environment } from "../options/environment.js";
import type { VolumeOption } from "../volumes/volume-options.js";

/** What a container may use; what is not given has no limit. Sizes are in bytes, periods and quotas in microseconds. */
export interface ContainerLimits {
  /** A container that needs more has processes killed (`oomKilled`). */
  memory?: number | undefined;
  /** Memory and swap together; −1 is no limit. */
  memorySwap?: number | undefined;
  /** What it keeps when memory is short. */
  memoryReservation?: number | undefined;
  /** 0 to 100. cgroup v1 only. */
  memorySwappiness?: number | undefined;
  kernelMemoryTcp?: number | undefined;
  /** Whether processes wait for memory rather than being killed. cgroup v1 only. */
  oomKillDisable?: boolean | undefined;
  /** Processors: 0.5 is half of one, 2 is two. Not together with `cpuPeriod` and `cpuQuota`. */
  cpus?: number | undefined;
  cpuShares?: number | undefined;
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
  blkioWeightDevice?: readonly { path: string; weight: number }[] | undefined;
  /** Of devices of the host, in bytes a second. */
  blkioDeviceReadBps?: readonly DeviceRate[] | undefined;
  blkioDeviceWriteBps?: readonly DeviceRate[] | undefined;
  /** Operations a second. */
  blkioDeviceReadIops?: readonly DeviceRate[] | undefined;
  blkioDeviceWriteIops?: readonly DeviceRate[] | undefined;
  /** As the devices cgroup has them: `c 13:* rwm`. */
  deviceCgroupRules?: readonly string[] | undefined;
  /** Limits of cgroup v2 by the names of its files. */
  unified?: Readonly<Record<string, string>> | undefined;
}

export interface DeviceRate {
  /** On the host. */
  path: string;
  rate: number;
}

/** A file or directory of the host that the container sees at `destination`. */
export interface BindMount {
  /** Absolute, or from this process's working directory; on the daemon's machine. */
  source: string;
  /** Absolute, in the container. */
  destination: string;
  /** Default: false. */
  readOnly?: boolean | undefined;
  /** Whether what is mounted below `source` comes along. Default: true. */
  recursive?: boolean | undefined;
  /** Default: "rprivate". */
  propagation?: "private" | "rprivate" | "slave" | "rslave" | "shared" | "rshared" | undefined;
  /** Whether `source` is made, as a directory, when it is not there. Default: false. */
  createSource?: boolean | undefined;
}

/** A file system in memory, which counts as the container's memory. */
export interface TmpfsOptions {
  /** Bytes. Default: half of the machine's memory. */
  size?: number | undefined;
  /** Default: 0o1777. runc 1.1 gives it the mode of a directory that is there. */
  mode?: number | undefined;
  uid?: number | undefined;
  gid?: number | undefined;
  /** As mount(8) has them: `exec`. */
  options?: readonly string[] | undefined;
}

/** A device of the host; a directory stands for all devices in it. */
export interface DeviceMapping {
  source: string;
  /** Default: the same as `source`. */
  destination?: string | undefined;
  /** Of `r`, `w` and `m`. Default: "rwm". */
  permissions?: string | undefined;
}

/** The namespace of another container, by its id or name. */
export interface OfContainer {
  container: string;
}

/** A range of user or group ids: `length` of them, from `inside` on as the container sees them. */
export interface IdMap {
  inside: number;
  outside: number;
  length: number;
}

/** What is run in a container to see whether it works: with the status 0 it does. Times are in milliseconds. */
export interface HealthcheckOptions {
  /** A command for the shell, or arguments. Default: the image's. */
  test?: string | readonly string[] | undefined;
  /** From the end of one to the beginning of the next. Default, as of all that follow: the image's; 30,000. */
  interval?: number | undefined;
  /** One that takes longer has failed, and is killed. 30,000. */
  timeout?: number | undefined;
  /** From its start: what fails in that time does not count. 0. */
  startPeriod?: number | undefined;
  /** In place of the interval, in the start period. 5,000. */
  startInterval?: number | undefined;
  /** How many have to fail, one after the other. 3. */
  retries?: number | undefined;
}

/** A log is kept in files, the oldest of which goes when there are too many; or there is none, and the output is dropped. */
export interface LogConfig {
  /** Default: "file". */
  driver?: "file" | "none" | undefined;
  /** Bytes of one file, from 64 KiB to 1 GiB. Default: 10 MiB. */
  maxSize?: number | undefined;
  /** 1 to 1,000. Default: 2. */
  maxFiles?: number | undefined;
}

/** What a container is made of. Each option is Docker's of that name; defaults are of the call that takes them. */
export interface ContainerOptions {
  /** The image, by its name or digest: "alpine:3.20". Either this or `rootfs`. */
  image?: string | undefined;
  /** A directory of the daemon's machine that is the root file system. */
  rootfs?: string | undefined;
  /** Whether it has a layer of its own for what it writes. Default: of `run` false, of `create` and `start` true with an image. */
  writable?: boolean | undefined;
  /** Whether its root is read-only. Default: of `run` unless `writable`, of `create` and `start` false. */
  readOnly?: boolean | undefined;
  /** In place of the image's entrypoint; `[]` for none. With it, the image's command does not count. */
  entrypoint?: readonly string[] | undefined;
  /** In place of the image's command. */
  args?: readonly string[] | undefined;
  /** Over the image's; undefined takes one away. */
  env?: Environment | undefined;
  /** `NAME`, `NAME:GROUP`, `UID:GID` or a uid; names are those of the root file system. Default: the image's. */
  user?: string | number | undefined;
  /** More groups, by name or number. */
  groupAdd?: readonly (string | number)[] | undefined;
  /** Absolute. Default: the image's. */
  workdir?: string | undefined;
  /** Default: the first 12 characters of the id. */
  hostname?: string | undefined;
  domainname?: string | undefined;
  /** Added to /etc/hosts: addresses by their names. */
  hosts?: Readonly<Record<string, string>> | undefined;
  labels?: Readonly<Record<string, string>> | undefined;

  limits?: ContainerLimits | undefined;
  /** By name: `{ nofile: 1024 }`, `{ core: { soft: 0, hard: -1 } }`; −1 is no limit. */
  ulimits?: Readonly<Record<string, number | { soft: number; hard: number }>> | undefined;
  /** The cgroup below which its own is. */
  cgroupParent?: string | undefined;
  /** −1000 (never this one) to 1000. Default: 0. */
  oomScoreAdj?: number | undefined;

  mounts?: readonly BindMount[] | undefined;
  /** By their places, absolute paths: `{ "/data": "db", "/cache": {} }`. */
  volumes?: Readonly<Record<string, VolumeOption>> | undefined;
  /** Where: a list of paths, or options by paths. */
  tmpfs?: readonly string[] | Readonly<Record<string, TmpfsOptions>> | undefined;
  devices?: readonly (string | DeviceMapping)[] | undefined;
  /** Bytes of /dev/shm. Default: 64 MiB. */
  shmSize?: number | undefined;
  /** What becomes of its output when it is started without streams. */
  log?: LogConfig | undefined;

  /** Every capability and device, no seccomp. Default: false. */
  privileged?: boolean | undefined;
  /** To and from Docker's usual ones, with or without "CAP_"; "ALL" is every one. */
  capabilities?: { add?: readonly string[] | undefined; drop?: readonly string[] | undefined } | undefined;
  /** Whether set-user-id programs give no more rights. Default: of `run` true, of `create` and `start` false. */
  noNewPrivileges?: boolean | undefined;
  /** Default: "default". */
  seccomp?: Seccomp | undefined;
  /** A profile that the host has loaded. */
  apparmor?: string | undefined;
  /** In place of the usual ones. */
  maskedPaths?: readonly string[] | undefined;
  readonlyPaths?: readonly string[] | undefined;
  sysctls?: Readonly<Record<string, string | number>> | undefined;

  /** Default: "none"; "bridge" with `ports`, `publishAll`, `dns` or `dnsSearch`. */
  network?: NetworkOption | undefined;
  /** Ports of the host at which it is reached. */
  ports?: readonly PortOption[] | undefined;
  /** Whether each port that the image exposes is published on one that the daemon chooses. Default: false. */
  publishAll?: boolean | undefined;
  /** Addresses of name servers, for what is no name of a container. Default: the host's. */
  dns?: readonly string[] | undefined;
  /** Domains of names without a dot. Default: the host's. */
  dnsSearch?: readonly string[] | undefined;
  /** Of resolv.conf: "ndots:2". */
  dnsOptions?: readonly string[] | undefined;
  /** Default, as of the next three: "private". */
  pid?: "private" | "host" | OfContainer | undefined;
  /** "shareable": others may join it, /dev/shm included; "none": without /dev/shm. */
  ipc?: "private" | "host" | "shareable" | "none" | OfContainer | undefined;
  uts?: "private" | "host" | OfContainer | undefined;
  cgroupns?: "private" | "host" | undefined;
  /**
   * "auto": ids of its own, which nobody else has on the host (Linux 5.19). Default: of `create` and `start` "host"; of `run` "auto", but
   * "host" for `privileged`, with a namespace of the host or of another container, and for a `rootfs` that is not `writable`.
   */
  userns?: "host" | "auto" | { uids: readonly IdMap[]; gids: readonly IdMap[] } | undefined;

  /** Whether a small init of its own is the first process, which reaps orphans and hands signals on. Default: false. */
  init?: boolean | undefined;
  /**
   * What starts it again when it has ended: "on-failure" after a status other than 0, "on-failure:5" at most five times, "always", and
   * "unless-stopped", which differ after a new start of the machine only. Default: "no".
   */
  restart?: "no" | "always" | "unless-stopped" | "on-failure" | `on-failure:${number}` | undefined;
  /** What looks whether it works; "none": nothing, also when the image has a check. Default: the image's. */
  healthcheck?: HealthcheckOptions | "none" | undefined;
  /** Default: the image's, or "SIGTERM". */
  stopSignal?: string | undefined;
  /** Milliseconds that it may take to end when it is stopped, before it is killed. Default: 10,000. */
  stopTimeout?: number | undefined;
  /** A name or path on the daemon's machine. Default: the daemon's. */
  runtime?: string | undefined;

  /** When the image is fetched: if it is not there, each time, or not at all. Default: "missing". */
  pull?: "missing" | "always" | "never" | undefined;
  /** Told what happens while the image is fetched. */
  onProgress?: PullOptions["onProgress"];
  /** For the registry. */
  auth?: PullOptions["auth"];
}
