/** OCI bundles around busybox. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeRootfs, sharedRootfs } from "./rootfs.js";

interface IdMapping {
  containerID: number;
  hostID: number;
  size: number;
}

/** As much of the OCI runtime specification as tests set. */
export interface Spec {
  ociVersion: string;
  process: {
    terminal: boolean;
    user: { uid: number; gid: number; additionalGids?: number[]; umask?: number };
    args: string[];
    env: string[];
    cwd: string;
    /** Before runtime-spec 1.0 a list, since then one list for each set. */
    capabilities: string[] | Record<string, string[]>;
    rlimits: { type: string; hard: number; soft: number }[];
    noNewPrivileges: boolean;
    [field: string]: unknown;
  };
  root: { path: string; readonly: boolean };
  hostname: string;
  mounts: { destination: string; type: string; source: string; options?: string[] }[];
  linux: {
    namespaces: { type: string; path?: string }[];
    resources: Record<string, unknown>;
    maskedPaths?: string[];
    readonlyPaths?: string[];
    cgroupsPath?: string;
    uidMappings?: IdMapping[];
    gidMappings?: IdMapping[];
    [field: string]: unknown;
  };
  [field: string]: unknown;
}

export interface BundleOptions {
  /** The command; busybox' applets are on the PATH. */
  args: string[];
  /** Added to PATH and TERM. */
  env?: string[];
  cwd?: string;
  terminal?: boolean;
  /** Bytes. */
  memoryLimit?: number;
  /** A root file system of its own, to write to; else all containers share one that is read-only. */
  ownRootfs?: boolean;
  /** runtime-spec 1.0.0-rc2, as Docker up to 17.05 writes it: `process.capabilities` is a list. */
  oldFormat?: boolean;
  /** The last word on the specification before it is written. */
  spec?: (spec: Spec) => void;
}

const capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];

/** The specification of a container of busybox. */
export function specification(options: BundleOptions): Spec {
  const spec: Spec = {
    ociVersion: options.oldFormat ? "1.0.0-rc2-dev" : "1.0.2",
    process: {
      terminal: options.terminal ?? false,
      user: { uid: 0, gid: 0 },
      args: options.args,
      env: ["PATH=/bin", "TERM=xterm", ...(options.env ?? [])],
      cwd: options.cwd ?? "/",
      capabilities: options.oldFormat
        ? capabilities
        : { bounding: capabilities, effective: capabilities, permitted: capabilities },
      rlimits: [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
      noNewPrivileges: true,
    },
    root: { path: options.ownRootfs ? "rootfs" : sharedRootfs(), readonly: !options.ownRootfs },
    hostname: "busybox",
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      {
        destination: "/dev",
        type: "tmpfs",
        source: "tmpfs",
        options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
      },
      {
        destination: "/dev/pts",
        type: "devpts",
        source: "devpts",
        options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
      },
      { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
      { destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev", "size=65536k"] },
    ],
    linux: {
      namespaces: ["pid", "network", "ipc", "uts", "mount"].map((type) => ({ type })),
      resources: {
        devices: [{ allow: false, access: "rwm" }],
        ...(options.memoryLimit === undefined ? {} : { memory: { limit: options.memoryLimit } }),
      },
      maskedPaths: ["/proc/kcore", "/proc/keys", "/proc/timer_list"],
      readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
    },
  };
  options.spec?.(spec);
  return spec;
}

/** Writes a bundle into the new directory `path`; `path` is answered. */
export function makeBundle(path: string, options: BundleOptions): string {
  mkdirSync(path, { recursive: true });
  if (options.ownRootfs) makeRootfs(join(path, "rootfs"));
  writeFileSync(join(path, "config.json"), JSON.stringify(specification(options), undefined, 2));
  return path;
}
