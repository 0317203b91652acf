import { describe, expect, test, vi } from "vitest";
import { hasHierarchies, ScratchCgroup } from "../../../test/harness/scratch-cgroup.js";
import { emptyStats } from "./stats.js";
import { CgroupV2 } from "./v2.js";

const recorded = new URL("../../../test/cgroup/recorded", import.meta.url).pathname;

describe("recorded", () => {
  const cgroup = new CgroupV2(`${recorded}/v2`);

  test("every part", () => {
    const { cpu, memory, io, pids, hugePages } = cgroup.stats();
    const { host, ...own } = cpu;
    expect(own).toEqual({
      total: 1_571_000_000n,
      perCpu: [],
      user: 1_204_000_000n,
      kernel: 367_000_000n,
      periods: 31n,
      throttledPeriods: 21n,
      throttledTime: 1_649_734_000n,
    });
    expect(host).toBeGreaterThan(0n);
    const { lines, ...counted } = memory;
    expect(counted).toEqual({
      cache: 8388608n,
      ram: { usage: 31457280n, peak: 52428800n, limitHits: 17n, limit: 67108864n },
      // Memory and swap together.
      ramAndSwap: {
        usage: 31457280n + 1048576n,
        peak: 52428800n + 2097152n,
        limitHits: 5n,
        limit: 67108864n + 33554432n,
      },
      swap: { usage: 1048576n, peak: 2097152n, limitHits: 5n, limit: 33554432n },
      kernel: { usage: 2097152n, peak: 0n, limitHits: 0n, limit: 0n },
      kernelTcp: { usage: 0n, peak: 0n, limitHits: 0n, limit: 0n },
      events: { low: 0n, high: 0n, max: 17n, oom: 2n, oom_kill: 1n, oom_group_kill: 0n },
    });
    expect(Object.keys(lines)).toHaveLength(31);
    expect(lines.pgmajfault).toBe(2n);
    expect(io.bytes).toEqual([
      { major: 8, minor: 16, operation: "Read", value: 1459200n },
      { major: 8, minor: 16, operation: "Write", value: 314773504n },
      { major: 8, minor: 0, operation: "Read", value: 90430464n },
      { major: 8, minor: 0, operation: "Write", value: 299008000n },
    ]);
    expect(io.requests.map(({ value }) => value)).toEqual([192n, 353n, 8950n, 1252n]);
    expect(hugePages).toEqual({});
    expect(pids).toEqual({ current: 3n, limit: 0n });
  });

  test("pids come from the cgroups below too, sorted", () => {
    expect(cgroup.pids()).toEqual([117, 4242, 5001]);
    expect(cgroup.frozen()).toBe(false);
  });

  test("without controllers: zeros, but for the CPU time, which v2 always counts", () => {
    const { cpu, hugePages, ...others } = new CgroupV2(`${recorded}/v2-hugetlb`).stats();
    const { cpu: _, hugePages: __, ...zeros } = { ...emptyStats(), version: 2 };
    expect(others).toEqual(zeros);
    expect(hugePages).toEqual({
      "1GB": { usage: 0n, peak: 0n, limitHits: 0n, limit: 9223372036854771712n },
      "2MB": { usage: 0n, peak: 0n, limitHits: 0n, limit: 4194304n },
    });
  });
});

describe.skipIf(!hasHierarchies("unified"))("real", () => {
  test("pids here and below, CPU time, frozen, removed", async () => {
    await using scratch = new ScratchCgroup(["unified"]);
    scratch.makeBelow("a");
    const cgroup = new CgroupV2(scratch.path("unified"));
    const pids = [await scratch.runReady("while :; do :; done"), await scratch.runReady("exec sleep 1000", "a")];
    expect(cgroup.pids()).toEqual(pids.sort((a, b) => a - b));
    await vi.waitUntil(() => cgroup.stats().cpu.user > 0n, 10_000);

    expect(cgroup.frozen()).toBe(false);
    scratch.write("unified", "cgroup.freeze", "1");
    expect(cgroup.frozen()).toBe(true);
    scratch.write("unified", "cgroup.freeze", "0");
    await vi.waitUntil(() => !cgroup.frozen());

    await scratch.remove();
    expect(cgroup.pids()).toEqual([]);
    expect(() => cgroup.stats()).toThrow("ENOENT");
    expect(() => new CgroupV2(scratch.path("unified"))).toThrow("ENOENT");
  });

  test("a cgroup below that is frozen does not make this one frozen, one above does", async () => {
    await using scratch = new ScratchCgroup(["unified"]);
    scratch.makeBelow("a");
    await scratch.runReady("exec sleep 1000", "a");
    const above = new CgroupV2(scratch.path("unified"));
    const below = new CgroupV2(`${scratch.path("unified")}/a`);
    scratch.write("unified", "a/cgroup.freeze", "1");
    expect([above.frozen(), below.frozen()]).toEqual([false, true]);
    scratch.write("unified", "a/cgroup.freeze", "0");
    scratch.write("unified", "cgroup.freeze", "1");
    await vi.waitUntil(() => below.frozen());
    scratch.write("unified", "cgroup.freeze", "0");
  });

  test("threaded cgroups", async () => {
    await using scratch = new ScratchCgroup(["unified"]);
    scratch.makeBelow("a");
    scratch.write("unified", "a/cgroup.type", "threaded");
    const pid = await scratch.runReady("exec sleep 1000");
    scratch.write("unified", "a/cgroup.threads", String(pid));
    // The cgroup above lists the process, the threaded one its threads only.
    expect(new CgroupV2(scratch.path("unified")).pids()).toEqual([pid]);
    expect(new CgroupV2(`${scratch.path("unified")}/a`).pids()).toEqual([pid]);
  });
});
