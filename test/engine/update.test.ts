/** Limits that are changed while a container runs, as its cgroup has them, and what it starts with the next time. */
import { beforeAll, expect, test } from "vitest";
import { Resources } from "../../src/proto/containerdts/engine/v1/engine.js";
import { cgroupFile } from "../harness/cgroup-files.js";
import { useContainerd1 } from "../harness/containerd1.js";
import type { TestDaemon } from "../harness/daemon.js";
import { importImage, NO_STDIO, newId, requestFor, texts } from "../harness/engine.js";
import { full } from "../harness/extent.js";
import { refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const fixture = useContainerd1();
let daemon: TestDaemon;

beforeAll(async () => {
  daemon = fixture.daemon;
  await importImage(daemon);
});

const MiB = 1n << 20n;

async function running(resources: Partial<Resources>, script = "exec sleep 1000") {
  const id = newId(daemon);
  const config = { args: texts("sh", "-c", script), resources: Resources.fromPartial(resources) };
  await daemon.v1().engine.run({ create: requestFor({ id, config }), stdio: NO_STDIO });
  return id;
}

const update = (id: string, resources: Partial<Resources>) =>
  daemon.v1().engine.update({ id, resources: Resources.fromPartial(resources) });

/** What the kernel has. */
async function kernels(id: string) {
  const { pid } = await daemon.v1().engine.get({ id });
  const file = (controller: string, name: string) => cgroupFile(pid, controller, name);
  return {
    memory: file("memory", "memory.limit_in_bytes"),
    swap: file("memory", "memory.memsw.limit_in_bytes"),
    reservation: file("memory", "memory.soft_limit_in_bytes"),
    quota: file("cpu", "cpu.cfs_quota_us"),
    period: file("cpu", "cpu.cfs_period_us"),
    shares: file("cpu", "cpu.shares"),
    pids: file("pids", "pids.max"),
  };
}

/** Where the kernel counts no swap there is no such file. */
const swap = (bytes: bigint, has: string | undefined) => (has === undefined ? undefined : `${bytes}`);

test("memory, processors and processes change at once, and stay so", async () => {
  const id = await running({ memory: 64n * MiB, cpus: 0.5, pids: 50n });
  const before = await kernels(id);
  expect(before).toMatchObject({ memory: `${64n * MiB}`, quota: "50000", period: "100000", pids: "50" });
  expect(before.swap).toBe(swap(128n * MiB, before.swap));
  await update(id, { memory: 48n * MiB, cpus: 0.25, cpuShares: 512n, pids: 60n });
  const changed = { memory: `${48n * MiB}`, quota: "25000", period: "100000", shares: "512", pids: "60" };
  expect(await kernels(id)).toMatchObject(changed);
  // Twice the memory, as at a start.
  expect((await kernels(id)).swap).toBe(swap(96n * MiB, before.swap));
  const stats = await daemon.v1().engine.stats({ id });
  expect(stats).toMatchObject({ memoryLimit: 48n * MiB, pidsLimit: 60n });
  await daemon.v1().engine.restart({ id, grace: 0n, stdio: NO_STDIO });
  expect(await kernels(id)).toMatchObject(changed);
  await daemon.v1().engine.remove({ id, force: true });
});

test.skipIf(!full)("a change fits what was asked for before, or is refused; it starts again in any case", async () => {
  const id = await running({ memory: 64n * MiB, memorySwap: 80n * MiB, memoryReservation: 32n * MiB, cpus: 0.5 });
  const { engine } = daemon.v1();
  const countsSwap = (await kernels(id)).swap !== undefined;
  const before = await kernels(id);
  for (const [resources, words] of [
    [{ memory: 100n * MiB }, /memorySwap.*it must be 104857600/],
    [{ memory: 16n * MiB }, /memoryReservation.*must not be above 16777216/],
    [{ memory: 1000n }, /memory "?1000"?: it must be a number of bytes, 6291456/],
    [{ cpus: 1, cpuQuota: 5000n }, /cpuQuota.*cpus/],
    [{ pids: 0n }, /pids/],
  ] as const)
    expect(await refusal(update(id, resources))).toMatch(new RegExp(`INVALID_ARGUMENT: .*${words.source}`));
  expect(await kernels(id)).toEqual(before);
  // With the memory that it has; and both at once, up and down.
  if (countsSwap) {
    await update(id, { memorySwap: 96n * MiB });
    expect(await kernels(id)).toMatchObject({ memory: `${64n * MiB}`, swap: `${96n * MiB}` });
    await update(id, { memory: 128n * MiB, memorySwap: 256n * MiB });
    expect(await kernels(id)).toMatchObject({ memory: `${128n * MiB}`, swap: `${256n * MiB}` });
    await update(id, { memory: 40n * MiB, memorySwap: 40n * MiB });
    expect(await kernels(id)).toMatchObject({ memory: `${40n * MiB}`, swap: `${40n * MiB}` });
    await update(id, { memorySwap: -1n });
  }
  // A quota in place of a number of processors, of which the period stays; and the other way round.
  await update(id, { cpuPeriod: 50_000n });
  expect(await kernels(id)).toMatchObject({ quota: "50000", period: "50000" });
  await update(id, { cpuQuota: 20_000n });
  expect(await kernels(id)).toMatchObject({ quota: "20000", period: "50000" });
  await engine.restart({ id, grace: 0n, stdio: NO_STDIO });
  expect(await kernels(id)).toMatchObject({ quota: "20000", period: "50000" });
  await update(id, { cpus: 2 });
  await update(id, { pids: -1n });
  await engine.restart({ id, grace: 0n, stdio: NO_STDIO });
  expect(await kernels(id)).toMatchObject({ quota: "200000", period: "100000", pids: "max" });
  await engine.remove({ id, force: true });
});

test.skipIf(!full)("less memory than is used is refused, and nothing changes", async () => {
  const id = await running(
    { memory: 96n * MiB, memorySwap: 96n * MiB },
    "head -c 50000000 /dev/zero | tail -c 50000000 > /dev/shm/held; touch /dev/shm/whole; exec sleep 1000",
  );
  const { engine } = daemon.v1();
  await eventually(async () => (await engine.statFile({ id, path: "/dev/shm/whole" })) && true);
  const before = await kernels(id);
  expect(await refusal(update(id, { memory: 8n * MiB, memorySwap: 8n * MiB }))).toMatch(/busy|limit|usage/);
  expect((await kernels(id)).memory).toBe(before.memory);
  expect((await engine.get({ id })).config?.resources?.memory).toBe(96n * MiB);
  expect((await engine.get({ id })).status).toBe("running");
  await engine.restart({ id, grace: 0n, stdio: NO_STDIO });
  expect((await kernels(id)).memory).toBe(before.memory);
  await engine.remove({ id, force: true });
});
