/** What the engine makes of wishes, as runtimes understand it: each container says itself what it has got. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ContainerConfig } from "../../src/core/engine/container-config.js";
import { buildSpec, type SpecInputs } from "../../src/core/engine/spec/build-spec.js";
import { prepareHost } from "../../src/core/engine/spec/host-facts.js";
import { stringifyJson } from "../../src/core/files/json.js";
import { inCgroupV1, inCgroupV2, withoutCgroupV2 } from "../harness/cgroup-v2.js";
import { containerConfig, ROOT } from "../harness/engine-config.js";
import { wishes } from "../harness/engine-wishes.js";
import { times } from "../harness/extent.js";
import { makeRootfs } from "../harness/rootfs.js";
import { directoryPrefix, runName } from "../harness/run-name.js";
import { eventually } from "../harness/wait.js";

const CGROUP = `ctd-${runName()}-spec`;
let directory: string;
let count = 0;

beforeAll(() => {
  directory = mkdtempSync(directoryPrefix());
  // The root of a user namespace is nobody in particular here.
  chmodSync(directory, 0o755);
  makeRootfs(join(directory, "rootfs"));
  mkdirSync(join(directory, "source/below"), { recursive: true });
  writeFileSync(join(directory, "source/file"), "of the host\n");
  writeFileSync(join(directory, "init"), '#!/bin/sh\nshift\n"$@"\n', { mode: 0o755 });
  writeFileSync(join(directory, "hosts"), "127.0.0.1 localhost\n");
});
afterAll(async () => {
  rmSync(directory, { recursive: true, force: true });
  // Runtimes leave those above a container's own, and those of a start that failed; what is killed takes its time.
  const tops = readdirSync("/sys/fs/cgroup").map((hierarchy) => join("/sys/fs/cgroup", hierarchy, CGROUP));
  await eventually(() => {
    for (const top of tops) removeCgroup(top);
    return !tops.some((top) => existsSync(top));
  });
});

function removeCgroup(path: string): void {
  if (!existsSync(path)) return;
  for (const entry of readdirSync(path, { withFileTypes: true }))
    if (entry.isDirectory()) removeCgroup(join(path, entry.name));
  try {
    rmdirSync(path);
  } catch {
    // There is still somebody in it.
  }
}

interface Case {
  name: string;
  wishes: Partial<ContainerConfig> | (() => Partial<ContainerConfig>);
  inputs?: () => Partial<SpecInputs>;
  /** Of a shell in the container. */
  script: string;
  /** What it prints. */
  prints: string | RegExp;
}

const idMap = [{ inside: 0, outside: 1_000_000, length: 65_536 }];
const mount = {
  type: "bind" as const,
  source: "",
  readOnly: false,
  recursive: false,
  propagation: "",
  createSource: false,
  size: 0,
  options: [],
};

const CASES: Case[] = [
  {
    name: "no wishes",
    wishes: {},
    script:
      "hostname; id; echo $HOME $HOSTNAME; " +
      "pwd; grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status; cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
    prints: /^([\w-]{12})\nuid=0 gid=0\n\/root \1\n\/\nCapEff:\s00000000a80425fb\nNoNewPrivs:\s0\nSeccomp:\s2\n0\n$/,
  },
  {
    name: "a user, groups, a directory, a name, an environment",
    wishes: { workdir: "/made/here", hostname: "web", domainname: "example.org", env: ["A=1", "HOME=/x"] },
    inputs: () => ({ user: { uid: 1000, gid: 100, additionalGids: [7, 8], home: "/home/u", name: "u" } }),
    script:
      "hostname; cat /proc/sys/kernel/domainname; id -u; id -G; pwd; echo $A $HOME; grep CapEff /proc/self/status",
    prints: "web\nexample.org\n1000\n100 7 8\n/made/here\n1 /x\nCapEff:\t0000000000000000\n",
  },
  {
    name: "limits",
    wishes: {
      resources: { memory: 64 << 20, cpus: 0.5, pids: 77, cpuShares: 512, cpusetCpus: "0" },
      ulimits: [
        { name: "nofile", soft: 100, hard: 200 },
        { name: "core", soft: 0, hard: -1 },
      ],
      shmSize: 1 << 20,
      oomScoreAdj: 500,
    },
    script:
      "ulimit -n; ulimit -Hc; df -k /dev/shm | tail -1 | awk '{print $2}'; cat /proc/self/oom_score_adj; " +
      "cd /sys/fs/cgroup; " +
      "cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes cpu/cpu.cfs_quota_us pids/pids.max cpu/cpu.shares",
    prints: "100\nunlimited\n1024\n500\n67108864\n134217728\n50000\n77\n512\n",
  },
  {
    name: "read-only, no new privileges, capabilities, nothing masked",
    wishes: {
      readOnly: true,
      noNewPrivileges: true,
      capDrop: ["ALL"],
      capAdd: ["chown"],
      maskedPaths: [],
      readonlyPaths: [],
    },
    script: "touch /x 2>&1; grep -E 'CapBnd|NoNewPrivs' /proc/self/status; grep -c ' /proc/' /proc/self/mounts",
    prints: "touch: /x: Read-only file system\nCapBnd:\t0000000000000001\nNoNewPrivs:\t1\n0\n",
  },
  {
    name: "mounts",
    wishes: () => ({
      mounts: [
        { ...mount, source: join(directory, "source/below"), destination: "/data/below", readOnly: true },
        { ...mount, source: join(directory, "source"), destination: "/data", recursive: true, propagation: "rslave" },
        {
          ...mount,
          source: join(directory, "new/one"),
          destination: "/made",
          createSource: true,
          readOnly: true,
          recursive: true,
        },
        { ...mount, type: "tmpfs", destination: "/run", size: 8 << 20, mode: 0o700, uid: 5, options: ["exec"] },
      ],
    }),
    inputs: () => ({ files: { hosts: join(directory, "hosts") } }),
    script:
      "cat /data/file /etc/hosts; touch /data/below/x /made/x 2>&1; stat -c '%a %u' /run; cp /bin/busybox /run/ && /run/busybox echo ran",
    prints:
      "of the host\n127.0.0.1 localhost\ntouch: /data/below/x: Read-only file system\ntouch: /made/x: Read-only file system\n700 5\nran\n",
  },
  {
    name: "a device, a rule, settings of the kernel",
    wishes: {
      devices: [{ source: "/dev/fuse", destination: "/dev/other", permissions: "rw" }],
      resources: { deviceCgroupRules: ["c 10:* rm"] },
      sysctls: { "net.ipv4.ip_forward": "1", "kernel/shmmax": "1000000", "fs.mqueue.msg_max": "20" },
    },
    script:
      "stat -c '%F %t:%T' /dev/other; " +
      ": </dev/other && echo opened; cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax /proc/sys/fs/mqueue/msg_max",
    prints: "character special file a:e5\nopened\n1\n1000000\n20\n",
  },
  {
    name: "privileged",
    wishes: { privileged: true },
    script:
      "grep Seccomp: /proc/self/status; ls /dev/loop-control; " +
      "mount -t tmpfs x /tmp && echo mounted; touch /sys/fs/cgroup/pids/cgroup.procs && echo writable",
    prints: "Seccomp:\t0\n/dev/loop-control\nmounted\nwritable\n",
  },
  {
    name: "a user namespace",
    wishes: {
      userns: { mode: "auto" },
      devices: [{ source: "/dev/fuse", destination: "", permissions: "" }],
      domainname: "example.org",
      sysctls: { "net.ipv4.ip_forward": "1" },
    },
    inputs: () => ({ idMaps: { uids: idMap, gids: idMap } }),
    script:
      "id -u; cat /proc/self/uid_map | tr -s ' '; stat -c %F /dev/fuse; " +
      "cat /proc/sys/net/ipv4/ip_forward; ls /sys/class/net; ls -d /sys/fs/cgroup/pids",
    prints: "0\n 0 1000000 65536\ncharacter special file\n1\nlo\n/sys/fs/cgroup/pids\n",
  },
  {
    name: "a user namespace on the host's network",
    wishes: { userns: { mode: "map", uids: idMap, gids: idMap }, network: { mode: "host" }, readOnly: true },
    script: "hostname; ls /sys/class/net | grep -x lo; touch /sys/x 2>&1",
    prints: /^\S+\nlo\ntouch: \/sys\/x: .+\n$/,
  },
  {
    name: "the host's namespaces",
    wishes: {
      pid: { mode: "host" },
      ipc: { mode: "host" },
      uts: { mode: "host" },
      network: { mode: "host" },
      cgroupns: { mode: "host" },
    },
    script: "cd /proc/self/ns; for name in pid ipc uts net cgroup; do readlink $name; done",
    prints: ["pid", "ipc", "uts", "net", "cgroup"].map((name) => `${readlinkSync(`/proc/self/ns/${name}`)}\n`).join(""),
  },
  {
    name: "no shared memory, a program of Docker's form of profile",
    wishes: {
      ipc: { mode: "none" },
      seccomp: JSON.stringify({
        defaultAction: "SCMP_ACT_ALLOW",
        archMap: [{ architecture: "SCMP_ARCH_X86_64", subArchitectures: ["SCMP_ARCH_X86"] }],
        syscalls: [
          {
            names: ["mkdir", "mkdirat"],
            action: "SCMP_ACT_ERRNO",
            errnoRet: 38,
            excludes: { caps: ["CAP_SYS_ADMIN"] },
          },
          { name: "rmdir", action: "SCMP_ACT_ERRNO", includes: { caps: ["CAP_SYS_ADMIN"] } },
        ],
      }),
    },
    script: "ls /dev/shm 2>&1; mkdir /tmp/x 2>&1; rmdir /var && mkdir -p /var 2>/dev/null || echo gone",
    prints:
      "ls: /dev/shm: No such file or directory\nmkdir: can't create directory '/tmp/x': Function not implemented\ngone\n",
  },
  {
    name: "an init program",
    wishes: { init: true },
    inputs: () => ({ init: join(directory, "init") }),
    script: "tr '\\0' ' ' </proc/1/cmdline",
    prints: /^\/bin\/sh \/dev\/init -- sh -c tr /,
  },
  {
    name: "another place for its cgroup",
    wishes: { cgroupParent: `${CGROUP}/below`, cgroupns: { mode: "host" } },
    script: "grep pids: /proc/self/cgroup",
    prints: new RegExp(`^\\d+:pids:/${CGROUP}/below/\\S+\\n$`),
  },
];

/** Makes a bundle, and calls the runtime for it as nobody else is between. */
async function withBundle<T>(
  config: ContainerConfig,
  inputs: Partial<SpecInputs>,
  use: (id: string, bundle: string) => T,
): Promise<T> {
  // Whatever a test has made of the root file system is not the next one's.
  const id = `${directory.split("/").at(-1)}-${++count}`.padEnd(64, "0");
  const bundle = join(directory, id);
  const rootfs = join(bundle, "rootfs");
  makeRootfs(rootfs);
  // As the engine has it in a user namespace: what a runtime makes there, it makes as the container's root.
  const { userns } = config;
  if (userns.mode === "map")
    for (const name of [".", ...readdirSync(rootfs)]) chownSync(join(rootfs, name), userns.uids[0]!.outside, 0);
  try {
    config.cgroupParent ||= CGROUP;
    const host = await prepareHost(config, { systemdCgroup: false });
    const root = { path: "rootfs", readOnly: config.readOnly };
    const spec = buildSpec({ id, config, user: ROOT, root, host, ...inputs });
    writeFileSync(join(bundle, "config.json"), stringifyJson(spec));
    return use(id, bundle);
  } finally {
    rmSync(bundle, { recursive: true, force: true });
  }
}

function call(runtime: readonly string[], args: readonly string[], stdio: "pipe" | "ignore" = "pipe") {
  const [program, ...all] = [...runtime, "--root", join(directory, "run"), ...args];
  // A process that goes on would keep a pipe open.
  return spawnSync(program!, all, { encoding: "utf8", timeout: 120_000, stdio: ["ignore", stdio, stdio] });
}

async function run(runtime: readonly string[], { wishes, inputs, script }: Case): Promise<string> {
  const given = typeof wishes === "function" ? wishes() : wishes;
  const config = containerConfig({ args: ["sh", "-c", script], ...given });
  return await withBundle(config, inputs?.() ?? {}, (id, bundle) => {
    const { stdout, stderr } = call(runtime, ["run", "--bundle", bundle, id]);
    return stdout + stderr;
  });
}

describe.each([
  ["runc", ["runc"]],
  ["crun", [...inCgroupV1(), "crun"]],
])("%s", (_, runtime) => {
  test.each(CASES)("$name", async (one) => {
    const printed = await run(runtime, one);
    if (typeof one.prints === "string") expect(printed).toBe(one.prints);
    else expect(printed).toMatch(one.prints);
  });

  test("whatever else is wished for, together", async () => {
    const wishable = {
      sources: [join(directory, "source"), join(directory, "source/below")],
      devices: ["/dev/fuse"],
      controllers: true,
    };
    for (const config of fc.sample(wishes(wishable), times(30, 3))) {
      await withBundle(config, {}, (id, bundle) => {
        const log = join(bundle, "log");
        try {
          const { status } = call(runtime, ["--log", log, "create", "--bundle", bundle, id], "ignore");
          expect([status, status === 0 ? "" : readFileSync(log, "utf8"), config]).toEqual([0, "", config]);
        } finally {
          call(runtime, ["delete", "--force", id]);
        }
      });
    }
  }, 900_000);
});

/** Those that neither limit anything nor look at v1's files: there are few controllers in v2's hierarchy on many machines. */
const ON_V2 = ["no wishes", "mounts", "a user namespace on the host's network", "the host's namespaces"];

describe.skipIf(withoutCgroupV2())("runc with cgroup v2 alone", () => {
  test.each(CASES.filter(({ name }) => ON_V2.includes(name)))("$name", async (one) => {
    const printed = await run([...inCgroupV2(), "runc"], one);
    if (typeof one.prints === "string") expect(printed).toBe(one.prints);
    else expect(printed).toMatch(one.prints);
  });
});
