import { describe, expect, test, vi } from "vitest";
import { hasHierarchies, ScratchCgroup } from "../../../test/harness/scratch-cgroup.js";
import { emptyStats } from "./stats.js";
import { CgroupV2 } from "./v2.js";

const recorded = new URL("../../../test/cgroup/recorded", import.meta.url).pathname;

describe("recorded", () => {
  const cgroup = new CgroupV2(`${recorded}/v2`);

  test("every part of the message", () => {
    const { cpu_stats, memory_stats, blkio_stats, pids_stats, hugetlb_stats } = cgroup.stats();
    expect(cpu_stats.cpu_usage).toEqual({
      total_usage: 1_571_000_000n,
      percpu_usage: [],
      usage_in_usermode: 1_204_000_000n,
      usage_in_kernelmode: 367_000_000n,
    });
    expect(cpu_stats.throttling_data).toEqual({
      periods: 31n,
      throttled_periods: 21n,
      throttled_time: 1_649_734_000n,
    });
    expect(cpu_stats.system_usage).toBeGreaterThan(0n);
    const { stats, ...memory } = memory_stats;
    expect(memory).toEqual({
      cache: 8388608n,
      usage: { usage: 31457280n, max_usage: 52428800n, failcnt: 17n, limit: 67108864n },
      // Memory and swap together.
      swap_usage: {
        usage: 31457280n + 1048576n,
        max_usage: 52428800n + 2097152n,
        failcnt: 5n,
        limit: 67108864n + 33554432n,
      },
      kernel_usage: { usage: 2097152n, max_usage: 0n, failcnt: 0n, limit: 0n },
    });
    expect(Object.keys(stats)).toHaveLength(31);
    expect(stats.pgmajfault).toBe(2n);
    expect(blkio_stats.io_service_bytes_recursive).toEqual([
      { major: 8n, minor: 16n, op: "Read", value: 1459200n },
      { major: 8n, minor: 16n, op: "Write", value: 314773504n },
      { major: 8n, minor: 0n, op: "Read", value: 90430464n },
      { major: 8n, minor: 0n, op: "Write", value: 299008000n },
    ]);
    expect(blkio_stats.io_serviced_recursive.map(({ value }) => value)).toEqual([192n, 353n, 8950n, 1252n]);
    expect(hugetlb_stats).toEqual({});
    expect(pids_stats).toEqual({ current: 3n, limit: 0n });
  });

  test("pids come from the cgroups below too, sorted", () => {
    expect(cgroup.pids()).toEqual([117, 4242, 5001]);
    expect(cgroup.frozen()).toBe(false);
  });

  test("without controllers: zeros, but for the CPU time, which v2 always counts", () => {
    const { cpu_stats, hugetlb_stats, ...others } = new CgroupV2(`${recorded}/v2-hugetlb`).stats();
    const { cpu_stats: _, hugetlb_stats: __, ...zeros } = emptyStats();
    expect(others).toEqual(zeros);
    expect(hugetlb_stats).toEqual({
      "1GB": { usage: 0n, max_usage: 0n, failcnt: 0n, limit: 9223372036854771712n },
      "2MB": { usage: 0n, max_usage: 0n, failcnt: 0n, limit: 4194304n },
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
    await vi.waitUntil(() => cgroup.stats().cpu_stats.cpu_usage.usage_in_usermode > 0n, 10_000);

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
