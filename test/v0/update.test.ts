/** UpdateContainer on real runc: pause, resume and every resource, read back from the cgroup (v1; v2 is in crun.test.ts). */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Partially, status, type wire } from "../harness/api.js";
import { limits } from "../harness/cgroup-files.js";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { eventually, sleep } from "../harness/wait.js";

const isV1 = existsSync("/sys/fs/cgroup/memory/memory.limit_in_bytes");

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startDaemon();
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

const pidOf = (container: TestContainer) => container.response.container!.processes[0]!.systemPid;
const update = (container: TestContainer, resources: Partially<wire.UpdateResource>) =>
  daemon.api.updateContainer({ id: container.id, resources });
const statusOf = async ({ id }: TestContainer) => (await daemon.api.state({ id })).containers[0]?.status;

async function end(container: TestContainer): Promise<void> {
  await container.kill();
  await container.exit();
}

test("pause stops the processes, resume lets them go on; State and the events tell", async () => {
  using container = await startContainer(daemon, {
    name: "pause",
    args: ["sh", "-c", "while :; do echo tick; sleep 0.02; done"],
    stdio: true,
  });
  await container.printed("tick");
  await daemon.api.updateContainer({ id: container.id, status: "paused" });
  expect(await statusOf(container)).toBe("paused");
  if (isV1) expect(limits(pidOf(container))["freezer.state"]).toBe("FROZEN");
  let ticks = 0;
  container.stdio.stdout.on("data", () => ticks++);
  // What it printed before may still be on its way.
  await eventually(async () => {
    ticks = 0;
    await sleep(300);
    return ticks === 0;
  });
  await daemon.api.updateContainer({ id: container.id, status: "running" });
  expect(await statusOf(container)).toBe("running");
  await eventually(() => ticks > 3);
  await daemon.events.waitFor({ id: container.id, type: "resume" });
  expect(daemon.events.all({ id: container.id }).map(({ type }) => type)).toEqual([
    "start-container",
    "pause",
    "resume",
  ]);
  await end(container);
});

test("without a process of the runtime, which sees what the daemon has paused, as the daemon sees what the runtime has", async () => {
  const { path } = wrapRuntime(mkdtempSync(join(daemon.dir, "runtime-")), "runc", "state", { kind: "fail" });
  using container = await startContainer(daemon, {
    name: "seen",
    args: ["sleep", "1000"],
    request: { runtime: path },
  });
  const runc = (command: string) => execFileSync("runc", [command, container.id], { encoding: "utf8" });
  const statusByRunc = () => JSON.parse(runc("state")).status;
  await daemon.api.updateContainer({ id: container.id, status: "paused" });
  expect(statusByRunc()).toBe("paused");
  runc("resume");
  expect(statusByRunc()).toBe("running");
  expect(await statusOf(container)).toBe("running");
  runc("pause");
  expect(await statusOf(container)).toBe("paused");
  await daemon.api.updateContainer({ id: container.id, status: "running" });
  expect(statusByRunc()).toBe("running");
  await daemon.api.updateContainer({ id: container.id, status: "paused" });
  expect(await statusOf(container)).toBe("paused");
  await daemon.api.updateContainer({ id: container.id, status: "running" });
  expect(readFileSync(`${path}.calls`, "utf8")).not.toMatch(/ (?:pause|resume) /);
  await end(container);
});

test("a paused container is paused after a restart of the daemon too", async () => {
  await using other = await startDaemon();
  using container = await startContainer(other, { name: "c", args: ["sleep", "1000"] });
  await other.api.updateContainer({ id: container.id, status: "paused" });
  await other.restart({ kill: true });
  expect((await other.api.state()).containers[0]?.status).toBe("paused");
  await other.api.updateContainer({ id: container.id, status: "running" });
  expect((await other.api.state()).containers[0]?.status).toBe("running");
});

test("a paused container that is killed ends once it is resumed", async () => {
  using container = await startContainer(daemon, { name: "pause-kill", args: ["sleep", "1000"] });
  await daemon.api.updateContainer({ id: container.id, status: "paused" });
  await container.kill();
  await daemon.api.updateContainer({ id: container.id, status: "running" }).catch(() => {});
  expect(await container.exit()).toBe(137);
});

test("a status wins over resources in the same request", async () => {
  using container = await startContainer(daemon, { name: "both", args: ["sleep", "1000"] });
  await daemon.api.updateContainer({ id: container.id, status: "paused", resources: { pidsLimit: 77n } });
  expect(await statusOf(container)).toBe("paused");
  if (isV1) expect(limits(pidOf(container))["pids.max"]).toBe("max");
  await daemon.api.updateContainer({ id: container.id, status: "running" });
  await end(container);
});

test("neither status nor resources: nothing happens", async () => {
  using container = await startContainer(daemon, { name: "nothing", args: ["sleep", "1000"] });
  const before = limits(pidOf(container));
  await daemon.api.updateContainer({ id: container.id });
  await update(container, {});
  expect(limits(pidOf(container))).toEqual(before);
  await daemon.events.waitFor({ id: container.id, type: "start-container" });
  expect(daemon.events.all({ id: container.id }).map(({ type }) => type)).toEqual(["start-container"]);
  await end(container);
});

test("errors: unknown container, unknown status", async () => {
  using container = await startContainer(daemon, { name: "errors", args: ["sleep", "1000"] });
  for (const request of [{ status: "paused" }, { resources: { pidsLimit: 5n } }, {}]) {
    await expect(daemon.api.updateContainer({ id: "nobody", ...request })).rejects.toMatchObject({
      code: status.NOT_FOUND,
      details: "containerd: container not found",
    });
  }
  for (const other of ["stopped", "Paused", " "]) {
    await expect(daemon.api.updateContainer({ id: container.id, status: other })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: "containerd: unknown container status ",
    });
  }
  await end(container);
});

test("errors: a runtime that fails at pause, resume or update is quoted, and nothing is said to have happened", async () => {
  const { path, on, off } = wrapRuntime(daemon.dir, "failing", ["pause", "resume", "update"], {
    kind: "fail",
    message: "no ice today",
  });
  using container = await startContainer(daemon, {
    name: "failing",
    args: ["sleep", "1000"],
    request: { runtime: path },
  });
  const failure = { code: status.INTERNAL, details: 'exit status 1: "no ice today\\n"' };
  on();
  await expect(daemon.api.updateContainer({ id: container.id, status: "paused" })).rejects.toMatchObject(failure);
  await expect(update(container, { pidsLimit: 5n })).rejects.toMatchObject(failure);
  expect(await statusOf(container)).toBe("running");
  off();
  await daemon.api.updateContainer({ id: container.id, status: "paused" });
  on();
  await expect(daemon.api.updateContainer({ id: container.id, status: "running" })).rejects.toMatchObject(failure);
  expect(await statusOf(container)).toBe("paused");
  off();
  await daemon.api.updateContainer({ id: container.id, status: "running" });
  await daemon.events.waitFor({ id: container.id, type: "resume" });
  expect(daemon.events.all({ id: container.id }).map(({ type }) => type)).toEqual([
    "start-container",
    "pause",
    "resume",
  ]);
  await end(container);
});

test("a pause of a paused container, a resume of a running one: the runtime's words", async () => {
  using container = await startContainer(daemon, { name: "twice", args: ["sleep", "1000"] });
  await expect(daemon.api.updateContainer({ id: container.id, status: "running" })).rejects.toMatchObject({
    details: expect.stringMatching(/^exit status 1: ".*not paused/),
  });
  await daemon.api.updateContainer({ id: container.id, status: "paused" });
  await expect(daemon.api.updateContainer({ id: container.id, status: "paused" })).rejects.toMatchObject({
    details: expect.stringMatching(/^exit status 1: ".*not running/),
  });
  expect(await statusOf(container)).toBe("paused");
  await daemon.api.updateContainer({ id: container.id, status: "running" });
  await end(container);
});

test("operations on one container come in the order of the calls", async () => {
  using container = await startContainer(daemon, { name: "order", args: ["sleep", "1000"] });
  const { id } = container;
  await Promise.all([
    daemon.api.updateContainer({ id, status: "paused" }),
    daemon.api.updateContainer({ id, status: "running" }),
    daemon.api.updateContainer({ id, status: "paused" }),
    daemon.api.updateContainer({ id, status: "running" }),
    startExec(daemon, container, { pid: "e", args: ["true"] }),
  ]);
  await daemon.events.waitFor({ id, type: "exit", pid: "e" });
  expect(daemon.events.all({ id }).map(({ type }) => type)).toEqual([
    "start-container",
    "pause",
    "resume",
    "pause",
    "resume",
    "start-process",
    "exit",
  ]);
  await end(container);
});

test("a cancelled call ends the runtime's, and the next one has its turn", async () => {
  const { path, on, off, called } = wrapRuntime(daemon.dir, "hanging", "update", { kind: "hang" });
  using container = await startContainer(daemon, {
    name: "cancelled",
    args: ["sleep", "1000"],
    request: { runtime: path },
  });
  on();
  const cancel = new AbortController();
  const call = daemon.api.updateContainer(
    { id: container.id, resources: { pidsLimit: 9n } },
    { signal: cancel.signal },
  );
  call.catch(() => {});
  await called("update");
  cancel.abort();
  await expect(call).rejects.toMatchObject({ code: status.CANCELLED });
  off();
  await update(container, { pidsLimit: 10n });
  if (isV1) expect(limits(pidOf(container))["pids.max"]).toBe("10");
  await end(container);
});

test("update of a container that ends meanwhile fails with 'container not found'", async () => {
  const { path, on, called } = wrapRuntime(daemon.dir, "slow", "update", { kind: "hang" });
  using container = await startContainer(daemon, { name: "ends", args: ["sleep", "1000"], request: { runtime: path } });
  on();
  const call = update(container, { pidsLimit: 9n });
  call.catch(() => {});
  await called("update");
  await container.kill();
  await expect(call).rejects.toMatchObject({ details: "containerd: container not found" });
  expect(await container.exit()).toBe(137);
});

/** This machine's disk: a device that the kernel knows. */
function disk(): { id: { major: bigint; minor: bigint }; number: string } | undefined {
  const name = readFileSync("/proc/partitions", "utf8").match(/^ +(\d+) +(\d+) +\d+ +(vd|sd|nvme)\w+$/m);
  return name
    ? { id: { major: BigInt(name[1]!), minor: BigInt(name[2]!) }, number: `${name[1]}:${name[2]}` }
    : undefined;
}

describe.runIf(isV1)("resources", () => {
  const device = disk();
  const MB = 2 ** 20;
  let container: TestContainer;
  beforeAll(async () => {
    container = await startContainer(daemon, {
      name: "limited",
      args: ["sleep", "1000"],
      spec: (spec) => {
        spec.linux.resources = {
          ...spec.linux.resources,
          memory: { limit: 512 * MB, swap: 512 * MB, reservation: 256 * MB },
          cpu: { shares: 700, quota: 30_000, period: 60_000, cpus: "0" },
          pids: { limit: 500 },
          blockIO: {
            weight: 300,
            ...(device && {
              throttleReadBpsDevice: [
                { major: Number(device!.id.major), minor: Number(device!.id.minor), rate: 50 * MB },
              ],
            }),
          },
        };
      },
    });
  });

  /** What an update must change, and nothing else. */
  const cases: [string, Partially<wire.UpdateResource>, Record<string, string>][] = [
    ["blkioWeight", { blkioWeight: 450n }, { "blkio.bfq.weight": "450", "blkio.bfq.weight_device": "default 450" }],
    ["cpuShares", { cpuShares: 333n }, { "cpu.shares": "333" }],
    ["cpuPeriod", { cpuPeriod: 50_000n }, { "cpu.cfs_period_us": "50000" }],
    ["cpuQuota", { cpuQuota: 20_000n }, { "cpu.cfs_quota_us": "20000" }],
    [
      "cpuPeriod and cpuQuota",
      { cpuPeriod: 100_000n, cpuQuota: 90_000n },
      { "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "90000" },
    ],
    ["cpuQuota -1: no limit", { cpuQuota: 2n ** 64n - 1n }, { "cpu.cfs_quota_us": "-1" }],
    ["cpusetCpus", { cpusetCpus: "0-1" }, { "cpuset.cpus": "0-1" }],
    ["cpusetMems", { cpusetMems: "0" }, { "cpuset.mems": "0" }],
    ["memoryLimit", { memoryLimit: BigInt(300 * MB) }, { "memory.limit_in_bytes": String(300 * MB) }],
    ["memorySwap", { memorySwap: BigInt(600 * MB) }, { "memory.memsw.limit_in_bytes": String(600 * MB) }],
    [
      "memoryLimit and memorySwap, both above what was",
      { memoryLimit: BigInt(900 * MB), memorySwap: BigInt(1000 * MB) },
      { "memory.limit_in_bytes": String(900 * MB), "memory.memsw.limit_in_bytes": String(1000 * MB) },
    ],
    [
      "memoryLimit and memorySwap, both below what was",
      { memoryLimit: BigInt(200 * MB), memorySwap: BigInt(250 * MB) },
      { "memory.limit_in_bytes": String(200 * MB), "memory.memsw.limit_in_bytes": String(250 * MB) },
    ],
    ["memoryReservation", { memoryReservation: BigInt(100 * MB) }, { "memory.soft_limit_in_bytes": String(100 * MB) }],
    [
      "kernelTCPMemoryLimit",
      { kernelTCPMemoryLimit: BigInt(64 * MB) },
      { "memory.kmem.tcp.limit_in_bytes": String(64 * MB) },
    ],
    ["pidsLimit", { pidsLimit: 123n }, { "pids.max": "123" }],
    ["pidsLimit -1: no limit", { pidsLimit: 2n ** 64n - 1n }, { "pids.max": "max" }],
  ];
  test.each(cases)("%s", async (_name, resources, changes) => {
    const before = limits(pidOf(container));
    await update(container, resources);
    const after = limits(pidOf(container));
    expect(after).toEqual({ ...before, ...changes });
  });

  const throttles = [
    ["blkioThrottleReadBpsDevice", "blkio.throttle.read_bps_device"],
    ["blkioThrottleWriteBpsDevice", "blkio.throttle.write_bps_device"],
    ["blkioThrottleReadIopsDevice", "blkio.throttle.read_iops_device"],
    ["blkioThrottleWriteIopsDevice", "blkio.throttle.write_iops_device"],
  ] as const;
  test.skipIf(!device).each(throttles)("%s: set, changed, taken away", async (field, file) => {
    const before = limits(pidOf(container));
    for (const rate of [5_000_000n, 700n, 0n]) {
      await update(container, { [field]: [{ blkIODevice: device!.id, rate }] });
      expect(limits(pidOf(container))).toEqual({ ...before, [file]: rate === 0n ? "" : `${device!.number} ${rate}` });
    }
  });

  test.skipIf(!device)(
    "a limit of a device stays when something else is changed, also one that the bundle had",
    async () => {
      const rates = { blkioThrottleReadBpsDevice: [{ blkIODevice: device!.id, rate: 1_234_567n }] };
      await update(container, rates);
      await update(container, { pidsLimit: 99n });
      expect(limits(pidOf(container))["blkio.throttle.read_bps_device"]).toBe(`${device!.number} 1234567`);
      await update(container, { blkioThrottleReadBpsDevice: [{ blkIODevice: device!.id, rate: 0n }] });
      await update(container, { pidsLimit: 98n });
      expect(limits(pidOf(container))["blkio.throttle.read_bps_device"]).toBe("");
    },
  );

  test("a device that does not exist: a clear error", async () => {
    const before = limits(pidOf(container));
    await expect(
      update(container, { blkioThrottleReadBpsDevice: [{ blkIODevice: { major: 7n, minor: 250n }, rate: 5n }] }),
    ).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
      details: expect.stringMatching(/^readBps of device 7:250: .*no such device/),
    });
    expect(limits(pidOf(container))).toEqual(before);
  });

  test("blkioWeightDevice, with a scheduler that knows weights", async ({ skip }) => {
    const scheduler = "/sys/block/loop7/queue/scheduler";
    if (!existsSync(scheduler) || statSync("/sys/block/loop7/size").isDirectory()) skip("no loop device");
    const used = readFileSync("/sys/block/loop7/size", "utf8").trim() !== "0";
    const schedulers = readFileSync(scheduler, "utf8");
    if (used || !schedulers.includes("bfq")) skip(`loop7 is in use or has no BFQ: ${schedulers}`);
    const number = readFileSync("/sys/block/loop7/dev", "utf8").trim();
    const [major, minor] = number.split(":").map(BigInt) as [bigint, bigint];
    const before = limits(pidOf(container));
    writeFileSync(scheduler, "bfq");
    try {
      await update(container, { blkioWeightDevice: [{ blkIODevice: { major, minor }, weight: 222 }] });
      const after = limits(pidOf(container))["blkio.bfq.weight_device"];
      expect(after?.split("\n")).toContain(`${number} 222`);
      await update(container, { pidsLimit: 97n });
      expect(limits(pidOf(container))["blkio.bfq.weight_device"]).toBe(after);
    } finally {
      writeFileSync(scheduler, /\[([\w-]+)\]/.exec(schedulers)![1]!);
    }
    expect(limits(pidOf(container))).toEqual({ ...before, "pids.max": "97" });
  });

  test.skipIf(!device)("blkioWeightDevice, without such a scheduler: a clear error", async ({ skip }) => {
    const link = execFileSync("readlink", ["-f", `/sys/dev/block/${device!.number}`], { encoding: "utf8" }).trim();
    if (readFileSync(`${link}/queue/scheduler`, "utf8").includes("[bfq]")) skip("the disk has BFQ");
    await expect(
      update(container, { blkioWeightDevice: [{ blkIODevice: device!.id, weight: 222 }] }),
    ).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
      details: expect.stringMatching(/^weight of device .*not supported/),
    });
  });

  test("kernelMemoryLimit, blkioLeafWeight: set, or a clear error where the kernel has no such limit", async () => {
    const cases: [Partially<wire.UpdateResource>, string, string][] = [
      [{ kernelMemoryLimit: BigInt(100 * MB) }, "kernelMemory", "memory.kmem.limit_in_bytes"],
      [{ blkioLeafWeight: 300n }, "leafWeight", "blkio.leaf_weight"],
      [
        { blkioWeightDevice: [{ blkIODevice: { major: 7n, minor: 0n }, leafWeight: 300 }] },
        "leafWeight of device 7:0",
        "blkio.leaf_weight_device",
      ],
    ];
    for (const [resources, name, file] of cases) {
      try {
        await update(container, resources);
        expect(limits(pidOf(container))[file]).toMatch(/104857600|300/);
      } catch (error) {
        expect(error).toMatchObject({
          code: status.FAILED_PRECONDITION,
          details: `${name}: this kernel has no such limit`,
        });
      }
    }
  });

  test("all at once", async () => {
    const before = limits(pidOf(container));
    await update(container, {
      blkioWeight: 500n,
      cpuShares: 512n,
      cpuPeriod: 40_000n,
      cpuQuota: 10_000n,
      cpusetCpus: "0",
      cpusetMems: "0",
      memoryLimit: BigInt(128 * MB),
      memorySwap: BigInt(256 * MB),
      memoryReservation: BigInt(64 * MB),
      kernelTCPMemoryLimit: BigInt(32 * MB),
      pidsLimit: 64n,
      ...(device && { blkioThrottleWriteIopsDevice: [{ blkIODevice: device.id, rate: 40n }] }),
    });
    expect(limits(pidOf(container))).toEqual({
      ...before,
      "blkio.bfq.weight": "500",
      "blkio.bfq.weight_device": "default 500",
      "cpu.shares": "512",
      "cpu.cfs_period_us": "40000",
      "cpu.cfs_quota_us": "10000",
      "cpuset.cpus": "0",
      "cpuset.mems": "0",
      "memory.limit_in_bytes": String(128 * MB),
      "memory.memsw.limit_in_bytes": String(256 * MB),
      "memory.soft_limit_in_bytes": String(64 * MB),
      "memory.kmem.tcp.limit_in_bytes": String(32 * MB),
      "pids.max": "64",
      ...(device && { "blkio.throttle.write_iops_device": `${device.number} 40` }),
    });
  });

  test("a memory limit above the swap limit is refused with the runtime's words, and nothing changes", async () => {
    const before = limits(pidOf(container));
    await expect(update(container, { memoryLimit: BigInt(800 * MB) })).rejects.toMatchObject({
      code: status.INTERNAL,
      details: expect.stringMatching(/^exit status 1: ".*(limit|invalid argument)/),
    });
    expect(limits(pidOf(container))).toEqual(before);
    // Nor is it remembered: the next update works.
    await update(container, { cpuShares: 400n });
    expect(limits(pidOf(container))).toEqual({ ...before, "cpu.shares": "400" });
  });

  test("a paused container can be changed and stays paused", async () => {
    await daemon.api.updateContainer({ id: container.id, status: "paused" });
    const before = limits(pidOf(container));
    await update(container, { cpuShares: 222n });
    expect(limits(pidOf(container))).toEqual({ ...before, "cpu.shares": "222", "freezer.state": "FROZEN" });
    expect(await statusOf(container)).toBe("paused");
    await daemon.api.updateContainer({ id: container.id, status: "running" });
    expect(limits(pidOf(container))["freezer.state"]).toBe("THAWED");
  });

  test("an update that the runtime refuses changes no device either", async () => {
    const before = limits(pidOf(container));
    await expect(
      update(container, {
        cpusetCpus: "4000",
        ...(device && { blkioThrottleReadIopsDevice: [{ blkIODevice: device.id, rate: 3n }] }),
      }),
    ).rejects.toMatchObject({ code: status.INTERNAL });
    expect(limits(pidOf(container))).toEqual(before);
    await update(container, { cpuShares: 221n });
    expect(limits(pidOf(container))).toEqual({ ...before, "cpu.shares": "221" });
  });
});
