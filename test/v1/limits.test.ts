/** What tasks of containerd 1.x's API use, and how their limits are changed. */
import { existsSync } from "node:fs";
import { status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { Metrics as MetricsV1 } from "../../src/proto/io/containerd/cgroups/v1/metrics.js";
import { Metrics as MetricsV2 } from "../../src/proto/io/containerd/cgroups/v2/metrics.js";
import { cgroupFile, limits } from "../harness/cgroup-files.js";
import { isDebians, useContainerd1 } from "../harness/containerd1.js";
import { createTask, json, startTask } from "../harness/task.js";
import type { ApiV1 } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const isV1 = existsSync("/sys/fs/cgroup/memory/memory.limit_in_bytes");

const fixture = useContainerd1();

/** Burns some time, writes some memory, then waits. */
const WORK = ["sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; exec sleep 100000"];

/** The figures of the tasks that pass, with the version of their message. */
async function metricsOf(api: ApiV1, ...filters: string[]) {
  const { metrics } = await api.tasks.metrics({ filters });
  return metrics.map(({ id, timestamp, data }) => {
    const isV2 = data!.typeUrl === "io.containerd.cgroups.v2.Metrics";
    if (!isV2) expect(data!.typeUrl).toBe("io.containerd.cgroups.v1.Metrics");
    return {
      ...{ id, timestamp },
      v1: isV2 ? undefined : MetricsV1.decode(data!.value),
      v2: isV2 ? MetricsV2.decode(data!.value) : undefined,
    };
  });
}

describe("Metrics", () => {
  test("the figures of the cgroup's files", async () => {
    const { daemon, api } = fixture;
    const resources = { pids: { limit: 77 }, memory: { limit: 64 * 1024 * 1024 } };
    await using task = await startTask(daemon, api, {
      name: "figures",
      args: WORK,
      stdio: true,
      spec: (spec) => Object.assign(spec.linux.resources, resources),
    });
    await task.printed("done");
    const count = (controller: string, name: string) => BigInt(cgroupFile(task.pid, controller, name)!);
    const used = () => (isV1 ? count("cpuacct", "cpuacct.usage") : 0n);
    const before = { time: BigInt(Date.now() - 1) * 1_000_000n, used: used() };
    const [metric, ...others] = await metricsOf(api, `id==${task.id}`);
    expect(others).toEqual([]);
    expect(metric?.id).toBe(task.id);
    const { seconds, nanos } = metric!.timestamp!;
    expect(seconds * 1_000_000_000n + BigInt(nanos)).toBeGreaterThan(before.time);
    const { v1, v2 } = metric!;
    expect(v1?.pids ?? v2?.pids).toEqual({ current: 1n, limit: 77n });
    if (v2 !== undefined) {
      expect(v2.memory?.usageLimit).toBe(67108864n);
      expect(v2.cpu?.usageUsec).toBeGreaterThan(0n);
      return;
    }
    expect(v1?.memory?.usage?.limit).toBe(67108864n);
    expect(v1?.memory?.hierarchicalMemoryLimit).toBe(67108864n);
    expect(v1!.memory!.usage!.max).toBeGreaterThan(0n);
    expect(v1!.memory!.kernelTcp!.limit).toBe(count("memory", "memory.kmem.tcp.limit_in_bytes"));
    const { total } = v1!.cpu!.usage!;
    expect(total).toBeGreaterThanOrEqual(before.used);
    expect(total).toBeLessThanOrEqual(used());
    expect(v1!.memoryOomControl).toEqual({ oomKillDisable: 0n, underOom: 0n, oomKill: 0n });
  });

  test("filters choose, and no other namespace's are told", async () => {
    const { daemon, api } = fixture;
    const sleep = ["sleep", "100000"];
    await using one = await startTask(daemon, api, { name: "one", args: sleep });
    await using two = await createTask(daemon, api, { name: "two", args: sleep });
    await using three = await startTask(daemon, api.in("metrics"), { name: "three", args: sleep });
    const ids = async (api: ApiV1, ...filters: string[]) =>
      (await metricsOf(api, ...filters)).map(({ id }) => id).sort();
    expect(await ids(api)).toEqual([one.id, two.id].sort());
    expect(await ids(api.in("metrics"))).toEqual([three.id]);
    expect(await ids(api, `id==${two.id}`)).toEqual([two.id]);
    expect(await ids(api, `id==${one.id}`, `id==${two.id}`, `id==${three.id}`)).toEqual([one.id, two.id].sort());
    expect(await ids(api, `namespace==${api.namespace},id~=one`)).toEqual([one.id]);
    expect(await ids(api, "id==none")).toEqual([]);
    expect(await ids(api, "nope")).toEqual([]);
  });

  test("one that has stopped uses nothing, a filter that can't be read is refused", async () => {
    const { daemon, api } = fixture;
    await using task = await startTask(daemon, api, { name: "stopped", args: ["true"] });
    await task.wait();
    // containerd tells zeros of it.
    if (!isDebians) await eventually(async () => (await metricsOf(api, `id==${task.id}`)).length === 0);
    await expect(api.tasks.metrics({ filters: ["id=="] })).rejects.toMatchObject({
      code: isDebians ? status.UNKNOWN : status.INVALID_ARGUMENT,
      details: "filters: parse error: [id==]: expected value or quoted: invalid argument",
    });
    await expect(api.in("").tasks.metrics({})).rejects.toMatchObject({
      code: isDebians ? status.UNKNOWN : status.FAILED_PRECONDITION,
    });
  });
});

describe("Update", () => {
  test("limits change; zero and empty leave them; devices' limits stay", async () => {
    const { daemon, api } = fixture;
    await using task = await startTask(daemon, api, { name: "update", args: ["sleep", "100000"] });
    const { id: containerId, pid } = task;
    await api.tasks.update({
      containerId,
      resources: json("LinuxResources", {
        memory: { limit: 50 * 1024 * 1024 },
        cpu: { shares: 512 },
        pids: { limit: 60 },
      }),
    });
    const changed = limits(pid);
    expect(changed).toMatchObject({
      ...{ "memory.limit_in_bytes": String(50 * 1024 * 1024), "cpu.shares": "512", "pids.max": "60" },
    });
    await api.tasks.update({
      containerId,
      resources: json("LinuxResources", {
        ...{ memory: { limit: 0, swap: 0, reservation: 0 }, pids: { limit: 61 } },
        ...{ cpu: { shares: 0, quota: 0, period: 0, cpus: "", mems: "" }, blockIO: { weight: 0 }, devices: null },
      }),
    });
    expect(limits(pid)).toEqual({ ...changed, "pids.max": "61" });
  });

  test("of one that is created, and of one that is paused", async () => {
    const { daemon, api } = fixture;
    await using task = await createTask(daemon, api, { name: "early", args: ["sleep", "100000"] });
    const { id: containerId, pid } = task;
    const limit = (limit: number) =>
      api.tasks.update({ containerId, resources: json("LinuxResources", { pids: { limit } }) });
    await limit(50);
    expect(cgroupFile(pid, "pids", "pids.max")).toBe("50");
    await task.start();
    await api.tasks.pause({ containerId });
    await limit(51);
    expect(cgroupFile(pid, "pids", "pids.max")).toBe("51");
    await api.tasks.resume({ containerId });
  });

  // Some of these end the shim of Debian's containerd 1.6.
  test.skipIf(isDebians).each([
    ["nothing", undefined, "no resources are given"],
    ["an unknown type", { typeUrl: "foo.Bar", value: Buffer.from("{}") }, 'resources of type "foo.Bar"'],
    ["no JSON", { ...json("LinuxResources", {}), value: Buffer.from("{") }, "resources: "],
    ["no object", json("LinuxResources", [1]), "resources: not a JSON object"],
    ["a text for a number", json("LinuxResources", { memory: { limit: "1g" } }), "memory.limit is not a whole number"],
    ["a fraction", json("LinuxResources", { pids: { limit: 1.5 } }), "pids.limit is not a whole number"],
    ["a list for a part", json("LinuxResources", { cpu: [] }), "cpu is not a JSON object"],
    ["a number for a text", json("LinuxResources", { cpu: { cpus: 1 } }), "cpu.cpus is not a text"],
    [
      "devices without numbers",
      json("LinuxResources", { blockIO: { weightDevice: [{ major: "8" }] } }),
      "blockIO.weightDevice is not a list of devices",
    ],
  ])("%s is refused, and nothing changes", async (_, resources, words) => {
    const { daemon, api } = fixture;
    await using task = await startTask(daemon, api, { name: "bad-update", args: ["sleep", "100000"] });
    const before = limits(task.pid);
    await expect(api.tasks.update({ containerId: task.id, resources })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining(words),
    });
    expect(limits(task.pid)).toEqual(before);
  });

  test("what the kernel refuses is told in the runtime's words; what is not there, or has stopped", async () => {
    const { daemon, api } = fixture;
    await using task = await startTask(daemon, api, { name: "impossible", args: ["sleep", "100000"] });
    const { id: containerId } = task;
    await expect(
      api.tasks.update({ containerId, resources: json("LinuxResources", { cpu: { cpus: "999" } }) }),
    ).rejects.toMatchObject({ code: status.UNKNOWN, details: expect.stringMatching(/cpuset\.cpus: .*: unknown$/s) });
    const resources = json("LinuxResources", { pids: { limit: 50 } });
    await task.kill();
    await task.wait();
    await expect(api.tasks.update({ containerId, resources })).rejects.toMatchObject({
      // containerd 1.6 knows of this only by its text.
      code: isDebians ? status.UNKNOWN : status.FAILED_PRECONDITION,
    });
    await expect(api.tasks.update({ containerId: daemon.id("none"), resources })).rejects.toMatchObject({
      code: status.NOT_FOUND,
    });
  });
});
