/** What each option of `client.run` and `client.containers.create` does, as a program in the container sees it. */
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { CreatedContainer, RunOptions, StartNewOptions } from "../../../src/client/index.js";
import { useClient } from "../../harness/client.js";
import { findProgram } from "../../harness/paths.js";
import { makeRootfs } from "../../harness/rootfs.js";

const here = useClient();
const image = "options:1";

beforeAll(async () => {
  // Whoever is root in a container of its own ids is nobody here, and has to get to its root file system.
  chmodSync(here.daemon.dir, 0o711);
  const rootfs = join(here.daemon.dir, "of-image");
  makeRootfs(rootfs);
  writeFileSync(join(rootfs, "etc/passwd"), "root:x:0:0::/root:/bin/sh\nanna:x:1234:55::/tmp:/bin/sh\n");
  writeFileSync(join(rootfs, "etc/group"), "root:x:0:\nstaff:x:55:\nmusic:x:77:anna\nchess:x:88:\n");
  const tar = spawn("tar", ["-C", rootfs, "--owner=0", "--group=0", "-c", "."]);
  await here.client.images.import(tar.stdout, { rootfs: true, name: image });
});
afterAll(async () => {
  expect(await here.client.containers.list()).toEqual([]);
  await here.client.images.prune({ all: true });
});

const HOST_IDS = { userns: "host" as const };

const run = (script: string, options: Partial<RunOptions> = {}) =>
  here.client.run({
    image,
    pull: "never",
    ...HOST_IDS,
    stdioDir: here.daemon.dir,
    args: ["sh", "-c", script],
    ...options,
  });

/** With the defaults of containers that stay. It goes at the end of an `await using`. */
const start = async (script: string, options: Partial<StartNewOptions> = {}): Promise<CreatedContainer> =>
  await here.client.containers.start({ image, pull: "never", args: ["sh", "-c", script], ...options });

/** A file of the container's cgroup, by its name of cgroup v2 and by its controller and name of v1. */
const cgroupFile = (v2: string, v1: string) => `cat /sys/fs/cgroup/${v2} 2>/dev/null || cat /sys/fs/cgroup/${v1}`;

const CAP_KILL = 1n << 5n;
const CAP_SYS_ADMIN = 1n << 21n;
const CAP_NET_RAW = 1n << 13n;
const CAP_SYS_TIME = 1n << 25n;
const capabilities = "sed -n 's/^CapBnd:.//p' /proc/self/status";
const includes = (has: bigint[], hasNot: bigint[]) => (text: string) => {
  const all = BigInt(`0x${text.trim()}`);
  for (const one of has) expect(all & one, text).toBe(one);
  for (const one of hasNot) expect(all & one, text).toBe(0n);
};

type Case = [
  name: string,
  options: Partial<RunOptions>,
  script: string,
  /** Of what it prints; it has to succeed. */
  expected: string | RegExp | ((stdout: string) => void),
];

const cases: Case[] = [
  [
    "limits.memory",
    { limits: { memory: 64 << 20 } },
    cgroupFile("memory.max", "memory/memory.limit_in_bytes"),
    `${64 << 20}\n`,
  ],
  [
    "limits.cpus",
    { limits: { cpus: 0.5 } },
    "cat /sys/fs/cgroup/cpu.max 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us",
    /^50000\s100000\n$/,
  ],
  ["limits.cpuShares", { limits: { cpuShares: 512 } }, cgroupFile("cpu.weight", "cpu/cpu.shares"), /^(?:512|20|59)\n$/],
  ["limits.pids", { limits: { pids: 17 } }, cgroupFile("pids.max", "pids/pids.max"), "17\n"],
  ["limits.cpusetCpus", { limits: { cpusetCpus: "0" } }, "sed -n 's/^Cpus_allowed_list:.//p' /proc/self/status", "0\n"],
  ["capabilities of themselves", {}, capabilities, includes([CAP_KILL, CAP_NET_RAW], [CAP_SYS_ADMIN, CAP_SYS_TIME])],
  [
    "capabilities.add and .drop",
    { capabilities: { add: ["sys_time"], drop: ["CAP_NET_RAW"] } },
    capabilities,
    includes([CAP_KILL, CAP_SYS_TIME], [CAP_NET_RAW, CAP_SYS_ADMIN]),
  ],
  [
    "capabilities.drop of ALL, and one added",
    { capabilities: { drop: ["ALL"], add: ["KILL"] } },
    `${capabilities}; sed -n 's/^CapEff:.//p' /proc/self/status`,
    "0000000000000020\n0000000000000020\n",
  ],
  [
    "seccomp by default",
    {},
    "sed -n 's/^Seccomp:.//p' /proc/self/status; unshare -U true 2>/dev/null || echo no",
    "2\nno\n",
  ],
  ["seccomp unconfined", { seccomp: "unconfined" }, "sed -n 's/^Seccomp:.//p' /proc/self/status", "0\n"],
  [
    "seccomp of one's own",
    {
      seccomp: {
        defaultAction: "SCMP_ACT_ALLOW",
        syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 1 }],
      },
      tmpfs: ["/tmp"],
    },
    "mkdir /tmp/x 2>&1 || true",
    /Operation not permitted/,
  ],
  ["noNewPrivileges by default", {}, "sed -n 's/^NoNewPrivs:.//p' /proc/self/status", "1\n"],
  ["noNewPrivileges: false", { noNewPrivileges: false }, "sed -n 's/^NoNewPrivs:.//p' /proc/self/status", "0\n"],
  [
    "sysctls",
    { sysctls: { "net.ipv4.ip_forward": 1, "kernel.shmmni": "1000" } },
    "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmni",
    "1\n1000\n",
  ],
  ["devices", { devices: ["/dev/kmsg"] }, "[ -c /dev/kmsg ] && : >/dev/kmsg && echo opened", "opened\n"],
  [
    "a device at another place, which can't be written to",
    { devices: [{ source: "/dev/kmsg", destination: "/dev/of-host", permissions: "r" }] },
    "[ -c /dev/of-host ] || echo missing; (: >/dev/of-host) 2>/dev/null || echo refused",
    "refused\n",
  ],
  [
    "hosts",
    { hosts: { db: "10.0.0.7", six: "fd00::7" } },
    "grep -E 'db|six' /etc/hosts; grep -c localhost /etc/hosts",
    /^10\.0\.0\.7\s+db\nfd00::7\s+six\n2\n$/,
  ],
  [
    "hostname and domainname",
    { hostname: "box", domainname: "example.org" },
    "hostname; cat /etc/hostname /proc/sys/kernel/domainname",
    "box\nbox\nexample.org\n",
  ],
  ["hostname by default", {}, "hostname", /^[0-9a-f]{12}\n$/],
  ["oomScoreAdj", { oomScoreAdj: 321 }, "cat /proc/self/oom_score_adj", "321\n"],
  ["shmSize", { shmSize: 3 << 20 }, "df -k /dev/shm | awk 'END { print $2 }'", "3072\n"],
  ["shmSize by default", {}, "df -k /dev/shm | awk 'END { print $2 }'", "65536\n"],
  [
    "privileged",
    { privileged: true },
    `${capabilities}; sed -n 's/^Seccomp:.//p' /proc/self/status; ls /dev | grep -c .; touch /proc/sys/kernel/hostname && echo writes`,
    (stdout) => {
      const [all, seccomp, devices, writes] = stdout.split("\n");
      includes([CAP_SYS_ADMIN, CAP_SYS_TIME], [])(all!);
      expect([seccomp, writes]).toEqual(["0", "writes"]);
      expect(Number(devices)).toBeGreaterThan(15);
    },
  ],
  ["a user by name", { user: "anna" }, "id -u; id -g; id -G; echo $HOME", "1234\n55\n55 77\n/tmp\n"],
  ["a user with a group by name", { user: "anna:chess" }, "id -u; id -g", "1234\n88\n"],
  ["a user by number", { user: "4321:99" }, "id -u; id -g; id -G", "4321\n99\n99\n"],
  ["groupAdd", { user: "anna", groupAdd: ["chess", 4711] }, "id -G", "55 77 88 4711\n"],
  ["workdir", { workdir: "/etc" }, "pwd", "/etc\n"],
  ["a workdir that is not there, in a layer", { workdir: "/a/b", writable: true }, "pwd; touch x && ls", "/a/b\nx\n"],
  [
    "tmpfs with options",
    // At a place that is not there: runc 1.1 gives a tmpfs the mode of the directory that it covers.
    { writable: true, tmpfs: { "/memory": { size: 2 << 20, mode: 0o750, uid: 12, gid: 34, options: ["exec"] } } },
    "stat -c '%a %u %g' /memory; df -k /memory | awk 'END { print $2 }'; " +
      "cp /bin/busybox /memory/echo && /memory/echo run; " +
      "grep ' /memory ' /proc/mounts | cut -d' ' -f4 | tr , '\\n' | grep -E '^(nosuid|nodev|noexec)$'",
    "750 12 34\n2048\nrun\nnosuid\nnodev\n",
  ],
  [
    "tmpfs by default",
    { writable: true, tmpfs: ["/memory"] },
    "stat -c %a /memory; grep -c ' /memory .*noexec' /proc/mounts",
    "1777\n1\n",
  ],
  [
    "ulimits",
    { ulimits: { nofile: { soft: 77, hard: 99 }, core: 0 } },
    "ulimit -n; ulimit -Hn; ulimit -c",
    "77\n99\n0\n",
  ],
  [
    "maskedPaths and readonlyPaths by default",
    {},
    "cat /proc/timer_list /proc/kcore 2>/dev/null | wc -c; (echo x >/proc/sys/kernel/domainname) 2>/dev/null || echo refused",
    "0\nrefused\n",
  ],
  [
    "maskedPaths and readonlyPaths of one's own",
    { maskedPaths: ["/etc/passwd"], readonlyPaths: [] },
    "wc -c </etc/passwd; echo x >/proc/sys/kernel/domainname && echo written",
    "0\nwritten\n",
  ],
  ["not writable", {}, "touch /x 2>/dev/null || echo refused", "refused\n"],
  ["writable", { writable: true }, "touch /x /etc/x && echo written", "written\n"],
  [
    "readOnly and writable by a bind only",
    { readOnly: true },
    "grep -E '^[^ ]+ / ' /proc/mounts | cut -d' ' -f4 | cut -d, -f1",
    "ro\n",
  ],
  ["entrypoint and args", { entrypoint: ["sh", "-c"], args: ["echo $0 $1", "a", "b"] }, "", "a b\n"],
  ["env", { env: { A: "x y", PATH: "/bin:/other" } }, "echo $A $PATH", "x y /bin:/other\n"],
  ["network none", {}, "ls /sys/class/net", /^(?:\S+\n)*lo\n(?:\S+\n)*$/],
  ["ipc none", { ipc: "none" }, "grep -c ' /dev/shm ' /proc/mounts || true", "0\n"],
];

test.each(cases)("%s", async (_name, options, script, expected) => {
  const { stdout, stderr, status } = await run(script, options);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  if (typeof expected === "function") expected(stdout);
  else if (typeof expected === "string") expect(stdout).toBe(expected);
  else expect(stdout).toMatch(expected);
});

test("more memory than the limit is an out-of-memory kill", async () => {
  const options = { limits: { memory: 16 << 20, memorySwap: 16 << 20 } };
  expect(await run("tail /dev/zero", options)).toMatchObject({ oomKilled: true, status: 137 });
  expect(await run("true", options)).toMatchObject({ oomKilled: false, status: 0 });
  const container = await here.client.containers.start({ image, pull: "never", args: ["sleep", "1000"], ...options });
  try {
    expect(await container.exec(["tail", "/dev/zero"])).toMatchObject({ oomKilled: true, status: 137 });
    // What was killed before it is not its own.
    expect(await container.exec(["sh", "-c", "kill -9 $$"])).toMatchObject({ oomKilled: false, status: 137 });
  } finally {
    await container.remove({ force: true });
  }
});

test("more processes than the limit are refused", async () => {
  const { stdout, stderr } = await run("for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; echo unreached", {
    limits: { pids: 4 },
  });
  expect(stdout).toBe("");
  expect(stderr).toMatch(/fork/);
});

test("cgroupParent", async () => {
  const parent = `/${here.daemon.id("parent")}`;
  await using one = await start("sleep 1000", { cgroupParent: parent });
  const { pid } = await one.inspect();
  const paths = readFileSync(`/proc/${pid}/cgroup`, "utf8");
  expect(paths).toContain(`:${parent}/${one.id}\n`);
});

test("init is process 1, reaps, and hands the stop signal on", async () => {
  if (!findProgram("catatonit")) throw new Error("catatonit is not installed: run scripts/setup --tests");
  const script = "trap 'exit 9' TERM; (sleep 0.1 & ) ; while :; do sleep 0.1; done";
  await using one = await start(script, { init: true, stopTimeout: 60_000 });
  const { stdout } = await one.exec([
    "sh",
    "-c",
    "cat /proc/1/comm; (true &); (true &); sleep 0.3; grep -l 'State:.Z' /proc/[0-9]*/status | wc -l",
  ]);
  expect(stdout).toMatch(/^(?:catatonit|init)\n0\n$/);
  expect(await one.stop()).toMatchObject({ status: 9 });
});

test("namespaces of another container are joined", async () => {
  await using first = await start("sleep 1000", { ipc: "shareable", hostname: "first" });
  const names = "for name in pid ipc uts net; do readlink /proc/self/ns/$name; done";
  const ns = async (options: Partial<RunOptions>) => {
    const script = `${names}; hostname; ps | grep -c '[s]leep 1000' || true`;
    const { stdout } = await run(script, options);
    return stdout;
  };
  const { stdout } = await first.exec(["sh", "-c", names]);
  const of = { container: first.id };
  expect(await ns({ pid: of, ipc: of, uts: of, network: of })).toBe(`${stdout}first\n1\n`);
  const own = (await ns({})).split("\n");
  for (const name of stdout.trim().split("\n")) expect(own).not.toContain(name);
});

test("what joins a namespace that is not to be joined, or of nobody, is told why", async () => {
  await using first = await start("sleep 1000");
  await expect(run("true", { ipc: { container: first.id } })).rejects.toThrow(/shareable/);
  await expect(run("true", { pid: { container: "nobody" } })).rejects.toThrow(/nobody/);
});

test("binds: read-only, recursive, propagated", async () => {
  const folder = join(here.daemon.dir, "bind");
  mkdirSync(folder);
  writeFileSync(join(folder, "file"), "of the host\n");
  const script =
    "cat /data/file; touch /data/new 2>/dev/null || echo refused; grep ' /data ' /proc/self/mountinfo | grep -c master: || true";
  const at = (more: object) => ({ mounts: [{ source: folder, destination: "/data", ...more }] });
  expect(await run(script, at({ readOnly: true }))).toMatchObject({ stdout: "of the host\nrefused\n0\n" });
  expect(existsSync(join(folder, "new"))).toBe(false);
  expect(await run(script, at({}))).toMatchObject({ stdout: "of the host\n0\n", stderr: "" });
  expect(existsSync(join(folder, "new"))).toBe(true);
  const missing = join(here.daemon.dir, "missing");
  await expect(run("true", { mounts: [{ source: missing, destination: "/m" }] })).rejects.toThrow(missing);
  expect(existsSync(missing)).toBe(false);
  await run("true", { mounts: [{ source: missing, destination: "/m", createSource: true }] });
  expect(statSync(missing).isDirectory()).toBe(true);
});

test("ids of its own: others for each, and root's files inside", async () => {
  const script = "touch /made; stat -c '%u %g' /made /bin/busybox; cat /proc/self/uid_map; sleep 1000";
  const options = { userns: "auto" as const, writable: true, stdio: "output" as const, stdioDir: here.daemon.dir };
  await using one = await start(script, options);
  await using two = await start(script, options);
  const firstId = async (container: CreatedContainer) => {
    let text = "";
    for await (const chunk of container.stdout) {
      text += chunk;
      if (text.split("\n").length > 3) break;
    }
    expect(text).toMatch(/^0 0\n0 0\n\s+0\s+\d+\s+\d+\n$/);
    return Number(text.trim().split(/\s+/).at(-2));
  };
  const [a, b] = [await firstId(one), await firstId(two)];
  expect(a).not.toBe(b);
  expect(Math.min(a, b)).toBeGreaterThan(0);
  const { uidMap } = await one.inspect();
  expect(uidMap[0]).toMatchObject({ inside: 0, outside: a });
});

test("stopSignal and stopTimeout", async () => {
  const script = "trap 'exit 7' USR1; trap '' TERM; echo >/tmp/ready; while :; do sleep 0.1; done";
  const ready = (one: CreatedContainer) => one.exec(["sh", "-c", "until [ -e /tmp/ready ]; do sleep 0.1; done"]);
  await using polite = await start(script, { stopSignal: "SIGUSR1", stopTimeout: 60_000 });
  await ready(polite);
  expect(await polite.stop()).toMatchObject({ status: 7 });
  await using deaf = await start(script, { stopTimeout: 50 });
  await ready(deaf);
  expect(await deaf.stop()).toMatchObject({ status: 137 });
});

test("labels and names find it", async () => {
  await using one = await start("sleep 1000", { labels: { tier: "web", empty: "" }, name: "of-options" });
  const found = await here.client.containers.list({ labels: { tier: "web" }, names: ["of-options"] });
  expect(found.map(({ id, info }) => [id, info?.labels])).toEqual([[one.id, { tier: "web", empty: "" }]]);
  expect(await here.client.containers.list({ labels: { tier: "db" } })).toEqual([]);
});
