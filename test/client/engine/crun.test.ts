import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ContainerdError, RunOptions } from "../../../src/client/index.js";
import { inCgroupV1 } from "../../harness/cgroup-v2.js";
import { importRootfs, removeAll, useClient } from "../../harness/client.js";
import { full } from "../../harness/extent.js";

const here = useClient({ wrapper: inCgroupV1() });
const image = "base:1";

beforeAll(async () => {
  chmodSync(here.daemon.dir, 0o711);
  await importRootfs(here.client, image);
});
afterAll(async () => {
  await removeAll(here.client);
  await here.client.images.prune({ all: true });
});

const WITH = { image, pull: "never", runtime: "crun" } as const;

const run = (script: string, options: Partial<RunOptions> = {}) =>
  here.client.run({ ...WITH, stdioDir: here.daemon.dir, args: ["sh", "-c", script], ...options });

/** Options, a script, and what it prints. */
const OPTIONS: [string, Partial<RunOptions>, string, string][] = [
  [
    "env, workdir, hostname",
    { env: { A: "b" }, workdir: "/etc", hostname: "box" },
    "echo $A; pwd; hostname",
    "b\n/etc\nbox\n",
  ],
  ["userns auto", { userns: "auto" }, "awk '{print $1, $3}' /proc/self/uid_map", "0 65536\n"],
  ["writable", { writable: true }, "echo x > /file; cat /file; stat -c %u /file", "x\n0\n"],
  ["read-only", {}, "touch /file 2>&1 | grep -c 'Read-only'", "1\n"],
  ["user", { user: "1000:1001", userns: "host" }, "id -u; id -g", "1000\n1001\n"],
  ["tmpfs", { tmpfs: { "/tmp": { size: 1 << 20 } } }, "df -k /tmp | tail -n1 | awk '{print $2}'", "1024\n"],
  ["shmSize", { shmSize: 2 << 20 }, "df -k /dev/shm | tail -n1 | awk '{print $2}'", "2048\n"],
  ["ulimits", { ulimits: { nofile: 77 } }, "ulimit -n", "77\n"],
  ["sysctls", { sysctls: { "net.ipv4.ip_forward": 1 } }, "cat /proc/sys/net/ipv4/ip_forward", "1\n"],
  [
    "capabilities",
    { capabilities: { drop: ["ALL"] }, userns: "host" },
    "grep CapEff /proc/self/status | awk '{print $2}'",
    "0000000000000000\n",
  ],
  ["noNewPrivileges, seccomp", {}, "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | awk '{print $2}'", "1\n2\n"],
  ["oomScoreAdj", { oomScoreAdj: 500 }, "cat /proc/self/oom_score_adj", "500\n"],
  ["hosts", { hosts: { db: "10.0.0.7" } }, "grep -c '10.0.0.7.db' /etc/hosts", "1\n"],
  ["privileged", { privileged: true, userns: "host" }, "grep Seccomp: /proc/self/status | awk '{print $2}'", "0\n"],
];

test.skipIf(!full).each(OPTIONS)("%s", async (_, options, script, printed) => {
  expect(await run(script, options)).toMatchObject({ stdout: printed, status: 0 });
});

test.skipIf(!full)("binds, a device, and limits", async () => {
  const folder = join(here.daemon.dir, "data");
  mkdirSync(folder);
  writeFileSync(join(folder, "file"), "of the host\n");
  const { stdout } = await run(
    "cat /data/file; touch /data/x 2>/dev/null || echo refused; [ -c /dev/fuse ] && echo device",
    {
      mounts: [{ source: folder, destination: "/data", readOnly: true }],
      devices: ["/dev/fuse"],
    },
  );
  expect(stdout).toBe("of the host\nrefused\ndevice\n");
  const oom = await run("head -c 200000000 /dev/zero | tail", { limits: { memory: 20 << 20, memorySwap: 20 << 20 } });
  expect(oom.oomKilled).toBe(true);
});

test.skipIf(!full)("one that runs: exec, files, pause, update, restart, what goes wrong", async () => {
  await using container = await here.client.containers.start({ ...WITH, args: ["sleep", "100000"], stopTimeout: 0 });
  expect(await container.exec(["sh", "-c", "cat; exit 4"], { input: "hello", user: "1000" })).toMatchObject({
    stdout: "hello",
    status: 4,
  });
  await container.writeFile("/srv/file", "text");
  expect(await container.readFile("/srv/file")).toBe("text");
  await container.pause();
  expect(await container.state()).toBe("paused");
  await container.resume();
  await container.update({ limits: { memory: 64 << 20, pids: 50 } });
  expect(await container.stats()).toMatchObject({ memory: { limit: 64 << 20 }, pids: { limit: 50 } });
  await container.restart();
  expect(await container.readFile("/srv/file")).toBe("text");
  const failed = (options: Partial<RunOptions>) =>
    run("true", options).then(
      () => expect.fail("it went well"),
      (error: unknown) => (error as ContainerdError).kind,
    );
  expect(await failed({ args: ["/no/such"] })).toBe("command-not-found");
  expect(await failed({ image: undefined, rootfs: "/no/such", stdioDir: undefined })).toBe("bad-rootfs");
  expect(await container.stop()).toMatchObject({ status: 137 });
});
