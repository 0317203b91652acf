import { describe, expect, test } from "vitest";
import { containerConfig, hostFacts, imageConfig, ROOT } from "../../../../test/harness/engine-config.js";
import type { ContainerConfig, ContainerMount, Resources } from "../container-config.js";
import { buildSpec, type SpecInputs } from "./build-spec.js";
import { cgroupArgsOf } from "./cgroups-path.js";
import { parseImageConfig } from "./image-config.js";
import { processOf } from "./process.js";
import { resourcesOf } from "./resources.js";

const id = "0123456789abcdef".repeat(4);

function build(wishes: Partial<ContainerConfig> = {}, inputs: Partial<SpecInputs> = {}) {
  const config = containerConfig({ args: ["sh"], ...wishes });
  return buildSpec({ id, config, user: ROOT, root: { path: "rootfs", readOnly: false }, host: hostFacts(), ...inputs });
}

const mount = (wishes: Partial<ContainerMount>): ContainerMount => ({
  type: "bind",
  source: "",
  destination: "/x",
  readOnly: false,
  recursive: false,
  propagation: "",
  createSource: false,
  size: 0,
  options: [],
  ...wishes,
});
const sda = { path: "/dev/sda", type: "b" as const, major: 8, minor: 0, mode: 0o660, uid: 0, gid: 6 };
const tun = { path: "/dev/net/tun", type: "c" as const, major: 10, minor: 200, mode: 0o666, uid: 0, gid: 0 };
const withDevices = hostFacts({
  devices: new Map([
    ["/dev/sda", [sda]],
    ["/dev/net", [tun]],
    ["/dev", [sda, tun]],
  ]),
});
const range = { inside: 0, outside: 1000, length: 65_536 };

describe("image and wishes", () => {
  test.each<[string, Partial<ContainerConfig>, Parameters<typeof imageConfig>[0], string[]]>([
    ["the image's", { args: undefined }, { entrypoint: ["e"], cmd: ["c", "d"] }, ["e", "c", "d"]],
    ["another command", { args: ["x"] }, { entrypoint: ["e"], cmd: ["c"] }, ["e", "x"]],
    ["no arguments", { args: [] }, { entrypoint: ["e"], cmd: ["c"] }, ["e"]],
    ["another entrypoint", { entrypoint: ["y"], args: undefined }, { entrypoint: ["e"], cmd: ["c"] }, ["y"]],
    ["no entrypoint", { entrypoint: [], args: ["x"] }, { entrypoint: ["e"], cmd: ["c"] }, ["x"]],
  ])("command: %s", (_, wishes, image, args) => {
    expect(build(wishes, { image: imageConfig(image) }).process.args).toEqual(args);
  });

  test("environment: the image's, over it the caller's, below both what every process has", () => {
    const image = imageConfig({ env: ["PATH=/p", "A=1", "B=2", "C=3"] });
    const { env } = build({ env: ["B=x=y", "C", "D="], tty: true }, { image }).process;
    expect(env).toEqual(["HOME=/root", `HOSTNAME=${id.slice(0, 12)}`, "TERM=xterm", "PATH=/p", "A=1", "B=x=y", "D="]);
    expect(build({ env: ["HOME=/h", "TERM=dumb"], tty: true }).process.env).toEqual([
      expect.stringMatching(/^PATH=/),
      expect.stringMatching(/^HOSTNAME=/),
      "HOME=/h",
      "TERM=dumb",
    ]);
  });

  test.each([
    ["", "", "/"],
    ["", "srv/app", "/srv/app"],
    ["", "/srv/../app/", "/app"],
    ["/x", "/srv", "/x"],
  ])("directory %j over %j", (workdir, inImage, cwd) => {
    expect(build({ workdir }, { image: imageConfig({ workdir: inImage }) }).process.cwd).toBe(cwd);
  });
});

test("an image's config in all its forms", () => {
  const parse = (config: unknown) => parseImageConfig("sha256:1", Buffer.from(JSON.stringify(config)));
  expect(parse({})).toEqual(imageConfig());
  expect(parse({ config: null })).toEqual(imageConfig());
  expect(
    parse({
      config: {
        Entrypoint: "e",
        Cmd: ["a", "b"],
        Env: ["A=1", "=x", "B", 5],
        User: "u:g",
        WorkingDir: "/w",
        StopSignal: "SIGINT",
        Labels: { a: "1", b: 2, __proto__: "x" },
        Volumes: { "/data": {}, relative: {} },
        ExposedPorts: { "80/tcp": {} },
        Healthcheck: { Test: ["NONE"] },
      },
    }),
  ).toEqual(
    imageConfig({
      entrypoint: ["e"],
      cmd: ["a", "b"],
      env: ["A=1"],
      user: "u:g",
      workdir: "/w",
      stopSignal: "SIGINT",
      labels: { a: "1" },
      volumes: ["/data"],
      exposedPorts: ["80/tcp"],
      healthcheck: { Test: ["NONE"] },
    }),
  );
  // An argument less would be another command.
  expect(parse({ config: { Cmd: ["a", 1], Entrypoint: {}, Env: "A=1", User: 5 } })).toEqual(imageConfig());
  for (const text of ["", "[]", "null", "{"])
    expect(() => parseImageConfig("sha256:1", Buffer.from(text))).toThrow(/^image config sha256:1 is no JSON/);
});

test("no wishes: as Docker has it", () => {
  const spec = build();
  expect(spec.process.capabilities.bounding).toHaveLength(14);
  expect(spec).toMatchObject({
    hostname: id.slice(0, 12),
    process: { noNewPrivileges: false, user: { uid: 0, gid: 0 }, terminal: false },
    linux: {
      namespaces: ["mount", "network", "pid", "ipc", "uts", "cgroup"].map((type) => ({ type })),
      resources: { devices: [{ allow: false, access: "rwm" }] },
      seccomp: { defaultAction: "SCMP_ACT_ERRNO" },
    },
  });
  expect(spec.mounts.map(({ destination }) => destination)).toEqual([
    "/proc",
    "/dev",
    "/sys",
    "/dev/pts",
    "/dev/mqueue",
    "/dev/shm",
    "/sys/fs/cgroup",
  ]);
  expect(spec.process).not.toHaveProperty("oomScoreAdj");
  expect(spec.linux).not.toHaveProperty("cgroupsPath");
});

test.each<[string, Partial<ContainerConfig>, string[]]>([
  ["none", { capDrop: ["ALL"] }, []],
  ["one", { capDrop: ["all"], capAdd: ["cap_net_admin", "CHOWN"] }, ["CAP_CHOWN", "CAP_NET_ADMIN"]],
  ["every one but", { capAdd: ["ALL"], capDrop: ["SYS_ADMIN"] }, expect.not.arrayContaining(["CAP_SYS_ADMIN"])],
])("capabilities: %s", (_, wishes, expected) => {
  expect(build(wishes).process.capabilities.bounding).toEqual(expected);
});

test("who is not root has no capabilities before a program gives them", () => {
  const { capabilities } = build({}, { user: { ...ROOT, uid: 5 } }).process;
  expect(capabilities).toMatchObject({ effective: [], permitted: [], inheritable: [] });
  expect(capabilities.bounding).toHaveLength(14);
});

test("mounts: deeper ones later, the caller's in place of the usual ones", () => {
  const mounts = [
    mount({ source: "/a", destination: "/data/deep/", readOnly: true, recursive: true }),
    mount({ source: "/b/", destination: "/data", options: ["noexec"], propagation: "rshared" }),
    mount({ type: "tmpfs", destination: "/dev/shm", size: 4096, options: ["exec"] }),
    mount({ type: "tmpfs", destination: "/etc" }),
  ];
  const spec = build(
    { mounts, readOnly: true },
    { files: { hosts: "/run/hosts" }, host: hostFacts({ sharedSources: new Set(["/b/"]) }) },
  );
  expect(spec.mounts.slice(3).filter(({ type }) => type !== "cgroup")).toEqual([
    { destination: "/data", type: "bind", source: "/b", options: ["bind", "rw", "rshared", "noexec"] },
    {
      destination: "/etc",
      type: "tmpfs",
      source: "tmpfs",
      options: ["noexec", "nosuid", "nodev", "rw", "rprivate", "mode=1777"],
    },
    expect.objectContaining({ destination: "/dev/pts" }),
    expect.objectContaining({ destination: "/dev/mqueue" }),
    { destination: "/etc/hosts", type: "bind", source: "/run/hosts", options: ["rbind", "rprivate", "ro"] },
    { destination: "/data/deep", type: "bind", source: "/a", options: ["rbind", "ro", "rro", "rprivate"] },
    {
      destination: "/dev/shm",
      type: "tmpfs",
      source: "tmpfs",
      options: ["exec", "nosuid", "nodev", "rw", "rprivate", "size=4096", "mode=1777"],
    },
  ]);
  expect(spec.linux.rootfsPropagation).toBe("shared");
});

test("devices: one, those in a directory, all", () => {
  const given = [
    { source: "/dev/sda", destination: "/dev/disk", permissions: "mr" },
    { source: "/dev/net", destination: "/dev/other", permissions: "" },
  ];
  const { linux } = build(
    { devices: given, resources: { deviceCgroupRules: ["a *:* m", "b 8:* r"] } },
    { host: withDevices },
  );
  expect(linux.devices).toEqual([
    { path: "/dev/disk", type: "b", major: 8, minor: 0, fileMode: 0o660, uid: 0, gid: 6 },
    { path: "/dev/other/tun", type: "c", major: 10, minor: 200, fileMode: 0o666, uid: 0, gid: 0 },
  ]);
  expect(linux.resources.devices).toEqual([
    { allow: false, access: "rwm" },
    { allow: true, type: "b", major: 8, minor: 0, access: "rm" },
    { allow: true, type: "c", major: 10, minor: 200, access: "rwm" },
    { allow: true, type: "a", access: "m" },
    { allow: true, type: "b", major: 8, access: "r" },
  ]);
  const all = build({ privileged: true }, { host: withDevices });
  expect(all.linux.devices).toHaveLength(2);
  expect(all.linux).toMatchObject({ maskedPaths: [], readonlyPaths: [], resources: { devices: [{ allow: true }] } });
  expect(all.linux).not.toHaveProperty("seccomp");
  const inside = build(
    { devices: given, userns: { mode: "map", uids: [range], gids: [range] } },
    { host: withDevices },
  );
  expect(inside.linux).not.toHaveProperty("devices");
  expect(inside.mounts.at(-1)).toMatchObject({ destination: "/dev/other/tun", type: "bind", source: "/dev/net/tun" });
});

test("resources, each in its place", () => {
  const all: Resources = {
    memory: 64 << 20,
    memorySwap: -1,
    memoryReservation: 32 << 20,
    memorySwappiness: 0,
    kernelMemoryTcp: 5,
    oomKillDisable: true,
    cpuShares: 2,
    cpuPeriod: 1000,
    cpuQuota: -1,
    cpuRealtimePeriod: 7,
    cpuRealtimeRuntime: 6,
    cpusetCpus: "0-1,3",
    cpusetMems: "0",
    pids: -1,
    blkioWeight: 10,
    blkioWeightDevice: [{ path: "/dev/sda", weight: 1000 }],
    blkioDeviceReadBps: [{ path: "/dev/sda", rate: 1 }],
    blkioDeviceWriteBps: [{ path: "/dev/sda", rate: 2 }],
    blkioDeviceReadIOps: [{ path: "/dev/sda", rate: 3 }],
    blkioDeviceWriteIOps: [{ path: "/dev/sda", rate: 4 }],
  };
  const device = { major: 8, minor: 0 };
  expect(resourcesOf(all, withDevices)).toEqual({
    memory: {
      limit: 64 << 20,
      swap: -1,
      reservation: 32 << 20,
      swappiness: 0,
      kernelTCP: 5,
      disableOOMKiller: true,
    },
    cpu: {
      shares: 2,
      period: 1000,
      quota: -1,
      realtimePeriod: 7,
      realtimeRuntime: 6,
      cpus: "0-1,3",
      mems: "0",
    },
    pids: { limit: -1 },
    blockIO: {
      weight: 10,
      weightDevice: [{ ...device, weight: 1000 }],
      throttleReadBpsDevice: [{ ...device, rate: 1 }],
      throttleWriteBpsDevice: [{ ...device, rate: 2 }],
      throttleReadIOPSDevice: [{ ...device, rate: 3 }],
      throttleWriteIOPSDevice: [{ ...device, rate: 4 }],
    },
  });
  expect(resourcesOf({}, hostFacts())).toEqual({});
  expect(resourcesOf({ cpus: 1.5 }, hostFacts())).toEqual({ cpu: { quota: 150_000, period: 100_000 } });
  expect(resourcesOf({ memory: 1 << 24 }, hostFacts())).toEqual({ memory: { limit: 1 << 24, swap: 1 << 25 } });
  expect(resourcesOf({ memory: 1 << 24 }, hostFacts({ swapLimit: false }))).toEqual({ memory: { limit: 1 << 24 } });
  const v2 = hostFacts({ cgroupVersion: 2 });
  expect(resourcesOf({ unified: { "memory.high": "5" } }, v2)).toEqual({ unified: { "memory.high": "5" } });
});

test("what else there is", () => {
  const spec = build(
    {
      ulimits: [
        { name: "nofile", soft: 5, hard: 6 },
        { name: "core", soft: -1, hard: -1 },
      ],
      sysctls: {
        "net/ipv4/conf/eth0.1/forwarding": "1",
        "kernel.msgmax": "9",
        "net.ipv4.ip_unprivileged_port_start": "80",
      },
      domainname: "example.org",
      apparmor: "unconfined",
      oomScoreAdj: -5,
      maskedPaths: ["/proc/kcore/"],
      init: true,
    },
    { init: "/usr/bin/catatonit" },
  );
  expect(spec.process).toMatchObject({
    args: ["/dev/init", "--", "sh"],
    oomScoreAdj: -5,
    rlimits: [
      { type: "RLIMIT_NOFILE", soft: 5, hard: 6 },
      { type: "RLIMIT_CORE", soft: 2n ** 64n - 1n, hard: 2n ** 64n - 1n },
    ],
  });
  expect(spec.process).not.toHaveProperty("apparmorProfile");
  expect(spec.linux.maskedPaths).toEqual(["/proc/kcore"]);
  expect(spec.linux.sysctl).toEqual({
    "net.ipv4.ip_unprivileged_port_start": "80",
    "net.ipv4.ping_group_range": "0 2147483647",
    "net.ipv4.conf.eth0/1.forwarding": "1",
    "kernel.domainname": "example.org",
    "kernel.msgmax": "9",
  });
});

test.each([
  [false, "", undefined],
  [false, "a/b", `/a/b/${id}`],
  [false, "/a.slice/", `/a.slice/${id}`],
  [true, "", `system.slice:containerd-ts:${id}`],
  [true, "machine.slice", `machine.slice:containerd-ts:${id}`],
])("cgroup, with systemd %j, below %j", (systemdCgroup, cgroupParent, expected) => {
  expect(build({ cgroupParent }, { host: hostFacts({ systemdCgroup }) }).linux.cgroupsPath).toBe(expected);
  expect(cgroupArgsOf({ systemdCgroup })).toEqual(systemdCgroup ? ["--systemd-cgroup"] : []);
});

test("namespaces of others", () => {
  const container = { mode: "container" as const, container: "x" };
  const spec = build(
    { network: container, pid: { mode: "host" }, ipc: container, uts: { mode: "host" }, cgroupns: { mode: "host" } },
    { joined: { network: "/proc/5/ns/net", ipc: "/proc/5/ns/ipc", shm: "/run/shm" } },
  );
  expect(spec.linux.namespaces).toEqual([
    { type: "mount" },
    { type: "network", path: "/proc/5/ns/net" },
    { type: "ipc", path: "/proc/5/ns/ipc" },
  ]);
  expect(spec).not.toHaveProperty("hostname");
  expect(spec.mounts).toContainEqual({
    destination: "/dev/shm",
    type: "bind",
    source: "/run/shm",
    options: ["rbind", "rprivate"],
  });
});

const v2 = { host: hostFacts({ cgroupVersion: 2, systemdCgroup: true }) };

test.each<[Partial<ContainerConfig>, string, Partial<SpecInputs>?]>([
  [{ args: undefined }, 'args "[]": it must be a command, since there is no image that says what to run'],
  [{ args: [""] }, 'args "[\\"\\"]": it must begin with the command'],
  [{ args: ["a\0b"] }, 'args "a\\u0000b": it has a NUL in it'],
  [{ env: ["A=1", "=x"] }, 'env[1] "=x": it must be NAME=value, or NAME'],
  [{ workdir: "tmp" }, 'workdir "tmp": it must be an absolute path'],
  [{ hostname: "a b" }, 'hostname "a b": it must be of letters, digits'],
  [{ hostname: "a", uts: { mode: "host" } }, 'hostname "a": a container with uts "host" has no name of its own'],
  [{ domainname: "x".repeat(65) }, "64 at most"],
  [{ capAdd: ["CHOWN", "FLY"] }, 'capAdd[1] "FLY": no capability has this name'],
  [{ capDrop: ["FLY"] }, 'capDrop[0] "FLY": no capability has this name'],
  [{ capAdd: ["BPF"] }, 'capAdd[0] "BPF": neither this kernel', { host: hostFacts({ capabilities: ["CAP_CHOWN"] }) }],
  [{ ulimits: [{ name: "files", soft: 1, hard: 1 }] }, 'ulimits[0].name "files": it must be one of core, cpu'],
  [{ ulimits: [{ name: "cpu", soft: 2, hard: 1 }] }, 'ulimits[0].soft "2": it must not be above the hard limit, 1'],
  [{ ulimits: [{ name: "cpu", soft: 0.5, hard: 1 }] }, 'ulimits[0].soft "0.5": it must be a whole number'],
  [{ ulimits: [{ name: "nofile", soft: 1, hard: -1 }] }, 'ulimits[0].hard "-1": this kernel has at most 1048576'],
  [{ oomScoreAdj: 1001 }, 'oomScoreAdj "1001": it must be a whole number from -1000 to 1000'],
  [{ shmSize: -1 }, 'shmSize "-1": it must be a number of bytes'],
  [{ resources: { memory: 1000 } }, 'resources.memory "1000": it must be a number of bytes, 6291456 (6 MiB) or more'],
  [{ resources: { memorySwap: 1 << 25 } }, "goes with resources.memory"],
  [{ resources: { memory: 1 << 25, memorySwap: 1 << 24 } }, "it must be 33554432 (resources.memory) or more"],
  [{ resources: { memory: 1 << 24, memoryReservation: 1 << 25 } }, "must not be above 16777216 (resources.memory)"],
  [
    { resources: { memory: 1 << 24, memorySwap: 1 << 25 } },
    "does not count swap",
    { host: hostFacts({ swapLimit: false }) },
  ],
  [
    { resources: { memorySwappiness: 101 } },
    'resources.memorySwappiness "101": it must be a whole number from 0 to 100',
  ],
  [{ resources: { memorySwappiness: 1 } }, "this host has cgroup v2, which has no such limit", v2],
  [{ resources: { oomKillDisable: true } }, 'resources.oomKillDisable "true": this host has cgroup v2', v2],
  [{ resources: { cpus: 0 } }, 'resources.cpus "0": it must be a number of processors, 0.01 or more'],
  [
    { resources: { cpus: 1, cpuQuota: 5000 } },
    'resources.cpuQuota "5000": it does not go together with resources.cpus',
  ],
  [{ resources: { cpuQuota: 5 } }, 'resources.cpuQuota "5": it must be microseconds, 1000 or more, or -1'],
  [{ resources: { cpuShares: 1 } }, 'resources.cpuShares "1": it must be a whole number from 2 to 262144'],
  [{ resources: { cpusetCpus: "a" } }, 'resources.cpusetCpus "a": it must be numbers and ranges, like 0-2,7'],
  [{ resources: { pids: 0 } }, 'resources.pids "0": it must be a number of processes'],
  [{ resources: { blkioWeight: 5 } }, 'resources.blkioWeight "5": it must be a whole number from 10 to 1000'],
  [
    { resources: { blkioDeviceReadBps: [{ path: "/dev/x", rate: 1 }] } },
    'resources.blkioDeviceReadBps[0].path "/dev/x"',
  ],
  [{ resources: { unified: { "memory.high": "1" } } }, "this host has cgroup v1"],
  [{ resources: { unified: { "../x": "1" } } }, 'resources.unified "../x": its names must be those of files', v2],
  [{ resources: { deviceCgroupRules: ["x 1:2 r"] } }, 'resources.deviceCgroupRules[0] "x 1:2 r": it must be like'],
  [{ devices: [{ source: "/dev/none", destination: "", permissions: "" }] }, "there is no such device on this host"],
  [{ devices: [{ source: "/dev/sda", destination: "", permissions: "x" }] }, 'devices[0].permissions "x"'],
  [{ mounts: [mount({ source: "a" })] }, 'mounts[0].source "a": it must be an absolute path'],
  [{ mounts: [mount({ source: "/a", destination: "x" })] }, 'mounts[0].destination "x": it must be an absolute path'],
  [{ mounts: [mount({ source: "/a", destination: "/x/.." })] }, "it can't be the root"],
  [
    { mounts: [mount({ source: "/a" }), mount({ source: "/b", destination: "//x/" })] },
    'mounts[1].destination "//x/": two mounts',
  ],
  [
    { mounts: [mount({ source: "/a", propagation: "public" })] },
    'mounts[0].propagation "public": it must be one of private',
  ],
  [{ mounts: [mount({ source: "/a", propagation: "shared" })] }, '"/a" is on no shared mount of this host'],
  [{ mounts: [mount({ source: "/a", options: ["size=5"] })] }, 'mounts[0].options "size=5": it must be one of nosuid'],
  [
    {
      mounts: [mount({ source: "/a", options: ["noatime"] })],
      userns: { mode: "map", uids: [range], gids: [range] },
    },
    'mounts[0].options "noatime": it can\'t be changed with userns "map"',
  ],
  [{ mounts: [mount({ type: "tmpfs", source: "/a" })] }, 'mounts[0].source "/a": it is for binds'],
  [{ mounts: [mount({ type: "tmpfs", size: 5, options: ["size=5"] })] }, "mounts[0].options has size as well"],
  [{ mounts: [mount({ type: "tmpfs", options: ["lowerdir=/"] })] }, 'mounts[0].options "lowerdir=/"'],
  [{ mounts: [mount({ type: "npipe" as "bind" })] }, 'mounts[0].type "npipe": it must be "bind", "tmpfs" or "volume"'],
  [{ sysctls: { "vm.swappiness": "1" } }, 'sysctls "vm.swappiness": it is a setting of the whole machine'],
  [{ sysctls: { "net.x": "1" }, network: { mode: "host" } }, 'sysctls "net.x": it belongs to the network namespace'],
  [{ sysctls: { "kernel.sem": "1" }, ipc: { mode: "host" } }, 'sysctls "kernel.sem": it belongs to the IPC namespace'],
  [{ sysctls: { "kernel.hostname": "x" } }, "the option hostname sets it"],
  [{ sysctls: { "../x": "1" } }, 'sysctls "../x": a name must be like net.ipv4.ip_forward'],
  [{ seccomp: "strict" }, 'seccomp "strict": it must be "default", "unconfined" or a profile as JSON'],
  [{ seccomp: '{"defaultAction":"x","syscalls":[{}]}' }, "a rule has names and an action, which {} has not"],
  [{ apparmor: "docker-default" }, 'apparmor "docker-default": this kernel does not run AppArmor'],
  [{ cgroupParent: "a/../b" }, 'cgroupParent "a/../b": it must be a path below the top'],
  [{ cgroupParent: "/a/b" }, "it must be the name of a slice, like machine.slice", v2],
  [{ pid: { mode: "shareable" } }, 'pid "shareable": it must be "private", "host" or "container:ID"'],
  [{ init: true, pid: { mode: "host" } }, 'init "true": the first process'],
  [{ network: { mode: "path", path: "x" } }, 'network "x": it must be an absolute path'],
  [{ privileged: true, userns: { mode: "map", uids: [range], gids: [range] } }, 'privileged "true": userns "map"'],
  [{ pid: { mode: "host" }, userns: { mode: "map", uids: [range], gids: [range] } }, 'pid "host": userns "map"'],
  [{ userns: { mode: "map", uids: [], gids: [range] } }, 'uidMap "[]": it must have 1 to 340 ranges'],
  [
    { userns: { mode: "map", uids: [range], gids: [range, { inside: 70_000, outside: 2000, length: 1 }] } },
    "gidMap[1]",
  ],
  [{ userns: { mode: "map", uids: [{ ...range, inside: 1 }], gids: [range] } }, "the container's root"],
  [
    { userns: { mode: "map", uids: [{ ...range, length: 2 ** 32 }], gids: [range] } },
    "a range of ids from 0 to 4294967294",
  ],
  [{ maskedPaths: ["proc"] }, 'maskedPaths[0] "proc": it must be an absolute path'],
])("refuses %j", (wishes, message, inputs = { host: withDevices }) => {
  let thrown: unknown;
  try {
    build(wishes, inputs);
  } catch (error) {
    thrown = error;
  }
  expect(thrown).toMatchObject({ kind: "invalid-argument" });
  expect((thrown as Error).message).toContain(message);
});

describe("one more process", () => {
  const spec = build({ env: ["A=1"], oomScoreAdj: 5 });
  const wishes = { args: ["ls"], env: [], workdir: "", tty: false, privileged: false };

  test("as the container's own", () => {
    expect(processOf(spec, wishes, hostFacts())).toEqual({ ...spec.process, args: ["ls"] });
  });

  test("another user, directory, environment, terminal", () => {
    const user = { uid: 5, gid: 6, additionalGids: [6, 7], home: "/five", name: "five" };
    const process = processOf(spec, { ...wishes, user, workdir: "/tmp/", env: ["A", "B=2"], tty: true }, hostFacts());
    expect(process).toMatchObject({ terminal: true, cwd: "/tmp", user: { uid: 5, gid: 6, additionalGids: [6, 7] } });
    expect(process.env).toEqual([
      "HOME=/five",
      "TERM=xterm",
      expect.stringMatching(/^PATH/),
      expect.stringMatching(/^HOSTN/),
      "B=2",
    ]);
    expect(process.capabilities).toMatchObject({ effective: [], permitted: [] });
    expect(process.capabilities.bounding).toHaveLength(14);
  });

  test("with every capability", () => {
    const { effective } = processOf(spec, { ...wishes, privileged: true }, hostFacts()).capabilities;
    expect(effective).toEqual(hostFacts().capabilities);
  });

  test.each([
    [{ args: [] }, 'args "[]": it must begin with the command'],
    [{ workdir: "x" }, 'workdir "x": it must be an absolute path'],
    [{ env: [""] }, 'env[0] "": it must be NAME=value'],
  ])("refuses %j", (wrong, message) => {
    expect(() => processOf(spec, { ...wishes, ...wrong }, hostFacts())).toThrow(message);
  });
});
