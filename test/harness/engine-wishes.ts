import fc, { type Arbitrary } from "fast-check";
import type { ContainerConfig, ContainerMount, Resources } from "../../src/core/engine/container-config.js";
import { containerConfig } from "./engine-config.js";

/** What a machine has for containers to wish for. */
export interface Wishable {
  /** Directories. */
  sources: readonly string[];
  devices: readonly string[];
  /** Whether memory and swap can be limited, and the other controllers of cgroup v1 are there. */
  controllers: boolean;
}

/** Wishes that can be granted, alone and together. */
export function wishes({ sources, devices, controllers }: Wishable): Arbitrary<ContainerConfig> {
  const name = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/);
  const destination = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => `/mnt/${parts.join("/")}`);
  const some = <T>(values: Arbitrary<T>) => fc.array(values, { maxLength: 3 });
  const bind = fc.record({
    type: fc.constant("bind" as const),
    source: fc.constantFrom(...sources),
    destination,
    readOnly: fc.boolean(),
    recursive: fc.boolean(),
    propagation: fc.constantFrom("", "private", "rprivate", "slave", "rslave"),
    createSource: fc.boolean(),
    size: fc.constant(0),
    options: fc.subarray(["nosuid", "nodev", "noexec", "noatime"]),
  });
  const tmpfs = fc.record({
    type: fc.constant("tmpfs" as const),
    source: fc.constant(""),
    destination: fc.oneof(destination, fc.constantFrom("/tmp", "/run", "/dev/shm", "/var")),
    readOnly: fc.boolean(),
    recursive: fc.constant(false),
    propagation: fc.constant(""),
    createSource: fc.constant(false),
    size: fc.integer({ min: 0, max: 1 << 20 }),
    mode: fc.option(fc.integer({ min: 0, max: 0o1777 }), { nil: undefined }),
    uid: fc.option(fc.integer({ min: 0, max: 60_000 }), { nil: undefined }),
    options: fc.subarray(["exec", "suid", "dev", "nr_inodes=100", "gid=5"]),
  });
  const mounts: Arbitrary<ContainerMount[]> = fc.uniqueArray(fc.oneof(bind, tmpfs), {
    maxLength: 5,
    selector: (mount) => mount.destination,
  });
  const resources: Arbitrary<Resources> = controllers
    ? fc.record(
        {
          memory: fc.integer({ min: 32 << 20, max: 256 << 20 }),
          cpus: fc.double({ min: 0.01, max: 4, noNaN: true }),
          cpuShares: fc.integer({ min: 2, max: 262_144 }),
          cpusetCpus: fc.constantFrom("0", "0-0"),
          pids: fc.oneof(fc.constant(-1), fc.integer({ min: 20, max: 10_000 })),
          deviceCgroupRules: fc.subarray(["c 10:* rwm", "b 8:0 r", "a *:* m"]),
        },
        { requiredKeys: [] },
      )
    : fc.constant({});
  const capabilities = fc.subarray(["ALL", "CHOWN", "cap_net_raw", "CAP_SYS_ADMIN", "kill", "MKNOD"]);
  return fc
    .record({
      args: fc.array(fc.string({ minLength: 1 }), { maxLength: 3 }).map((more) => ["true", ...more.map(withoutNul)]),
      env: some(fc.tuple(name, fc.string()).map(([variable, value]) => `${variable}=${withoutNul(value)}`)),
      // One that is missing is made by whoever makes the root file system, or not.
      workdir: fc.constantFrom("", "/tmp", "/var/../tmp/"),
      hostname: fc.oneof(fc.constant(""), name),
      domainname: fc.oneof(fc.constant(""), name),
      readOnly: fc.boolean(),
      ulimits: fc.uniqueArray(
        fc.record({
          name: fc.constantFrom("nofile", "core", "stack", "nproc"),
          soft: fc.integer({ min: 100, max: 1000 }),
          hard: fc.integer({ min: 1000, max: 2000 }),
        }),
        { maxLength: 2, selector: (limit) => limit.name },
      ),
      oomScoreAdj: fc.option(fc.integer({ min: 0, max: 1000 }), { nil: undefined }),
      mounts,
      devices: fc
        .subarray([...devices])
        .map((paths) => paths.map((source) => ({ source, destination: "", permissions: "rm" }))),
      shmSize: fc.integer({ min: 0, max: 1 << 22 }),
      privileged: fc.boolean(),
      capAdd: capabilities,
      capDrop: capabilities,
      noNewPrivileges: fc.boolean(),
      seccomp: fc.constantFrom("default", "unconfined", '{"defaultAction":"SCMP_ACT_ALLOW"}'),
      maskedPaths: fc.option(fc.subarray(["/proc/kcore", "/sys/firmware"]), { nil: undefined }),
      sysctls: fc.dictionary(fc.constantFrom("net.ipv4.ip_forward", "kernel.shmmni"), fc.constantFrom("0", "1")),
      network: fc.constantFrom({ mode: "none" as const }, { mode: "none" as const }, { mode: "host" as const }),
      ipc: fc.constantFrom(...(["private", "shareable", "none", "host"] as const)).map((mode) => ({ mode })),
      pid: fc.constantFrom(...(["private", "private", "host"] as const)).map((mode) => ({ mode })),
      cgroupns: fc.constantFrom(...(["private", "host"] as const)).map((mode) => ({ mode })),
      inUserNamespace: fc.boolean(),
      resources,
    })
    .map(({ inUserNamespace, ...all }) => {
      const own = inUserNamespace && !all.privileged;
      const map = [{ inside: 0, outside: 1_000_000, length: 65_536 }];
      const sysctls = Object.entries(all.sysctls).filter(([sysctl]) =>
        sysctl.startsWith("net.") ? all.network.mode === "none" : all.ipc.mode !== "host" && !own,
      );
      return containerConfig({
        ...all,
        sysctls: Object.fromEntries(sysctls),
        ...(own && {
          userns: { mode: "map", uids: map, gids: map },
          mounts: all.mounts.map((mount) => ({
            ...mount,
            options: mount.options.filter((flag) => flag !== "noatime"),
          })),
          pid: { mode: "private" },
          ipc: { mode: all.ipc.mode === "host" ? "private" : all.ipc.mode },
          cgroupns: { mode: "private" },
        }),
      });
    });
}

function withoutNul(text: string): string {
  return text.replaceAll("\0", "");
}
