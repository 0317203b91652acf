import { resolve } from "node:path";
import { CAPABILITIES, capabilityName } from "../../contract/capabilities.js";
import { MASKED_PATHS, READONLY_PATHS } from "../../contract/kernel-paths.js";
import { dev, devpts, mqueue, PLAIN, sharedMemory } from "../../contract/system-mounts.js";
import { type Environment, environmentCheck, environmentList } from "../options/environment.js";
import { type ResourceLimits, resourceLimitsChecks, toLinuxResources } from "../options/limits.js";
import {
  absolutePath,
  anyText,
  type Check,
  type Checks,
  callback,
  checkOptions,
  flag,
  listOf,
  object,
  oneOf,
  pathText,
  required,
  text,
  whole,
  wrong,
} from "../options/option-checks.js";
import { type User, userCheck, userIds } from "../options/user.js";
import { checkMountPoints } from "./mount-points.js";
import { type Seccomp, seccompCheck, seccompOf } from "./seccomp.js";

/** A file or folder of the host, or a new file system in memory, that the container sees at `destination`. */
export type Mount =
  | {
      type?: "bind" | undefined;
      /** On the host. A relative path is taken from this process's working directory. */
      source: string;
      /** Absolute, in the container, where there is something to be covered. */
      destination: string;
      /** Default: false. */
      readOnly?: boolean | undefined;
    }
  | {
      type: "tmpfs";
      destination: string;
      /** Bytes it may grow to; they count as the container's memory. Default: half of the machine's memory. */
      size?: number | undefined;
    };

/** Where the container's network is: nowhere but loopback, the host's, or a network namespace that is there already. */
export type Network = "none" | "host" | { path: string };

/** A container in a few words; {@link buildSpec} makes an OCI runtime specification of it. */
export interface SpecOptions {
  /** The folder that becomes the container's root. A relative path is taken from this process's working directory. */
  rootfs: string;
  /** The command. It is looked up on the PATH of `env`. */
  args: readonly string[];
  /** Default: a usual PATH, and with a terminal TERM=xterm; they are added where they are missing. */
  env?: Environment | undefined;
  /** Its working directory, which is there. Default: "/". */
  cwd?: string | undefined;
  /** Default: root. */
  user?: User | undefined;
  /** Beside /proc, /dev, /dev/pts, /dev/shm, /dev/mqueue, /sys (read-only) and an empty /tmp. */
  mounts?: readonly Mount[] | undefined;
  limits?: ResourceLimits | undefined;
  /** Default: the container's id. */
  hostname?: string | undefined;
  /** Default: "none". */
  network?: Network | undefined;
  /** Whether the root is read-only. Default: true, so that many containers can share one. */
  readOnly?: boolean | undefined;
  /** Gives the process a terminal: there is no stderr then. */
  terminal?: boolean | undefined;
  /** With or without "CAP_". Default: AUDIT_WRITE, KILL and NET_BIND_SERVICE, as runc has it. */
  capabilities?: readonly string[] | undefined;
  /** Whether set-user-id programs give no more rights. Default: true. */
  noNewPrivileges?: boolean | undefined;
  /** What is added when the kernel looks for a process to kill for lack of memory, −1000 (never this one) to 1000. Default: 0. */
  oomScoreAdj?: number | undefined;
  /** Which system calls are allowed. Default: "default", in effect Docker's profile. */
  seccomp?: Seccomp | undefined;
  /** Has the last word on the specification: for everything that these options do not cover. */
  customize?: ((spec: Spec) => void) | undefined;
}

/** As much of the OCI runtime specification as the builder sets; what else it has can be added by `customize`. */
export interface Spec {
  ociVersion: string;
  process: {
    terminal: boolean;
    user: { uid: number; gid: number; additionalGids?: number[] };
    args: string[];
    env: string[];
    cwd: string;
    capabilities: Record<"bounding" | "effective" | "permitted", string[]>;
    noNewPrivileges: boolean;
    oomScoreAdj?: number;
    [field: string]: unknown;
  };
  root: { path: string; readonly: boolean };
  hostname?: string;
  mounts: { destination: string; type?: string; source?: string; options?: string[] }[];
  linux: {
    namespaces: { type: string; path?: string }[];
    resources: Record<string, unknown>;
    maskedPaths: string[];
    readonlyPaths: string[];
    [field: string]: unknown;
  };
  [field: string]: unknown;
}

/** In bytes. */
const SHM_SIZE = 64 << 20;

/** What nearly every program expects, as `runc spec` has it; and an empty /tmp. */
function systemMounts(): Spec["mounts"] {
  return [
    { destination: "/proc", type: "proc", source: "proc" },
    dev(),
    devpts(true),
    sharedMemory(SHM_SIZE),
    mqueue(),
    { destination: "/sys", type: "sysfs", source: "sysfs", options: [...PLAIN, "ro"] },
    { destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev", "mode=1777"] },
  ];
}

export const argsCheck: Check = (value, name) => {
  const what = "a command and its arguments, as a list of texts";
  listOf(anyText, what)(value, name);
  if (!(value as string[])[0]) throw wrong(name, what, value);
};

const bindChecks: Checks<Extract<Mount, { source: string }>> = {
  type: oneOf("bind", "tmpfs"),
  source: required(pathText),
  destination: required(absolutePath),
  readOnly: flag,
};

const tmpfsChecks: Checks<Extract<Mount, { type: "tmpfs" }>> = {
  type: oneOf("bind", "tmpfs"),
  destination: required(absolutePath),
  size: whole("a positive number of bytes", 1),
};

const mountCheck: Check = (value, name) => {
  const isTmpfs = (value as Partial<Mount> | null)?.type === "tmpfs";
  checkOptions(value, isTmpfs ? (tmpfsChecks as Checks<unknown>) : bindChecks, name);
};

const networkCheck: Check = (value, name) => {
  if (value === "none" || value === "host") return;
  if (typeof value !== "object" || value === null) throw wrong(name, '"none", "host" or { path }', value);
  checkOptions(value, { path: required(absolutePath) }, name);
};

export const capabilitiesCheck = listOf(
  text("the name of a capability", (name) => CAPABILITIES.includes(capabilityName(name))),
);

export const specChecks: Checks<SpecOptions> = {
  rootfs: required(pathText),
  args: required(argsCheck),
  env: environmentCheck,
  cwd: absolutePath,
  user: userCheck,
  mounts: listOf(mountCheck),
  limits: object(resourceLimitsChecks),
  hostname: anyText,
  network: networkCheck,
  readOnly: flag,
  terminal: flag,
  capabilities: capabilitiesCheck,
  noNewPrivileges: flag,
  oomScoreAdj: whole("a whole number from -1000 to 1000", -1000, 1000),
  seccomp: seccompCheck,
  customize: callback,
};

/**
 * An OCI runtime specification, 1.0: namespaces of its own, no devices but the usual ones, few capabilities.
 *
 * @throws TypeError or RangeError, with the option's name and value, for what makes no sense; Error when a user has to be looked up in
 *   the root file system, and cannot be; ContainerdError (`bad-mount`, `bad-cwd`) for what a runtime would make on the host.
 * @example
 * const spec = buildSpec({ rootfs: "/srv/rootfs", args: ["sh", "-c", "echo hi"], limits: { memory: 64 << 20 } });
 */
export function buildSpec(options: SpecOptions): Spec {
  checkOptions(options, specChecks);
  return specOf(options);
}

/** {@link buildSpec} for options that have been checked. */
export function specOf(options: SpecOptions): Spec {
  const { rootfs, args, cwd = "/", user = {}, terminal = false, network = "none" } = options;
  const capabilities = capabilityNames(options.capabilities ?? ["AUDIT_WRITE", "KILL", "NET_BIND_SERVICE"]);
  const system = systemMounts();
  const spec: Spec = {
    ociVersion: "1.0.2",
    process: {
      terminal,
      user: userIds(user, rootfs),
      args: [...args],
      env: environmentList(options.env, terminal),
      cwd,
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: options.noNewPrivileges ?? true,
      // Without it the daemon sees to the 0: asked for here, it would fail where a process may not lower its own.
      ...(options.oomScoreAdj !== undefined && { oomScoreAdj: options.oomScoreAdj }),
    },
    root: { path: resolve(rootfs), readonly: options.readOnly ?? true },
    ...(options.hostname !== undefined && { hostname: options.hostname }),
    mounts: [...system, ...(options.mounts ?? []).map(toOciMount)],
    linux: {
      namespaces: [
        ...["pid", "ipc", "uts", "mount"].map((type) => ({ type })),
        ...(network === "host" ? [] : [networkNamespace(network)]),
      ],
      resources: { devices: [{ allow: false, access: "rwm" }], ...toLinuxResources(options.limits ?? {}) },
      maskedPaths: [...MASKED_PATHS],
      readonlyPaths: [...READONLY_PATHS],
    },
  };
  const seccomp = seccompOf(options.seccomp ?? "default", capabilities);
  if (seccomp !== undefined) spec.linux.seccomp = seccomp;
  const binds = (options.mounts ?? []).map((mount) => ({
    ...mount,
    source: mount.type === "tmpfs" ? undefined : mount.source,
  }));
  checkMountPoints(
    rootfs,
    system.map(({ destination }) => ({ destination })),
    binds,
    cwd,
  );
  options.customize?.(spec);
  return spec;
}

/** As the kernel's headers have them. */
export function capabilityNames(names: readonly string[]): string[] {
  return names.map(capabilityName);
}

function networkNamespace(network: Exclude<Network, "host">): { type: string; path?: string } {
  return network === "none" ? { type: "network" } : { type: "network", path: network.path };
}

function toOciMount(mount: Mount): Spec["mounts"][number] {
  const { destination } = mount;
  if (mount.type === "tmpfs") {
    const size = mount.size === undefined ? [] : [`size=${mount.size}`];
    const options = ["nosuid", "nodev", "mode=1777", ...size];
    return { destination, type: "tmpfs", source: "tmpfs", options };
  }
  return {
    destination,
    type: "bind",
    source: resolve(mount.source),
    options: ["rbind", "nosuid", "nodev", mount.readOnly ? "ro" : "rw"],
  };
}
