import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { describe, expect, test, vi } from "vitest";
import { hasHierarchies, ScratchCgroup } from "../../../test/harness/scratch-cgroup.js";
import { emptyStats } from "./stats.js";
import { CgroupV1 } from "./v1.js";

const recorded = new URL("../../../test/cgroup/recorded", import.meta.url).pathname;

function recordedIn(directory: string, ...controllers: string[]): CgroupV1 {
  return new CgroupV1(new Map(controllers.map((controller) => [controller, `${recorded}/${directory}/${controller}`])));
}

describe("recorded", () => {
  const all = ["pids", "memory", "freezer", "cpu", "cpuacct", "blkio"];

  test("every part of the message", () => {
    const { cpu_stats, memory_stats, blkio_stats, pids_stats } = recordedIn("v1", ...all).stats();
    expect(cpu_stats.cpu_usage).toMatchInlineSnapshot(`
      {
        "percpu_usage": [
          94163633n,
          358601765n,
        ],
        "total_usage": 452765398n,
        "usage_in_kernelmode": 160000000n,
        "usage_in_usermode": 290000000n,
      }
    `);
    expect(cpu_stats.throttling_data).toMatchInlineSnapshot(`
      {
        "periods": 31n,
        "throttled_periods": 21n,
        "throttled_time": 1649734581n,
      }
    `);
    expect(cpu_stats.system_usage).toBeGreaterThan(0n);
    expect(pids_stats).toMatchInlineSnapshot(`
      {
        "current": 1n,
        "limit": 32n,
      }
    `);
    const { stats, ...memory } = memory_stats;
    expect(memory).toMatchInlineSnapshot(`
      {
        "cache": 65032192n,
        "kernel_usage": {
          "failcnt": 0n,
          "limit": 9223372036854771712n,
          "max_usage": 208896n,
          "usage": 57344n,
        },
        "swap_usage": {
          "failcnt": 0n,
          "limit": 9223372036854771712n,
          "max_usage": 69206016n,
          "usage": 65536000n,
        },
        "usage": {
          "failcnt": 16n,
          "limit": 67108864n,
          "max_usage": 67108864n,
          "usage": 65536000n,
        },
      }
    `);
    expect(Object.keys(stats)).toHaveLength(42);
    expect(stats).toMatchObject({ cache: memory.cache, hierarchical_memory_limit: 67108864n });
    // No request went through BFQ here: its files are there and empty, the throttle layer's count.
    expect(blkio_stats.io_serviced_recursive).toMatchInlineSnapshot(`
      [
        {
          "major": 254n,
          "minor": 0n,
          "op": "Read",
          "value": 30n,
        },
        {
          "major": 254n,
          "minor": 0n,
          "op": "Write",
          "value": 100n,
        },
        {
          "major": 254n,
          "minor": 0n,
          "op": "Sync",
          "value": 130n,
        },
        {
          "major": 254n,
          "minor": 0n,
          "op": "Async",
          "value": 0n,
        },
        {
          "major": 254n,
          "minor": 0n,
          "op": "Discard",
          "value": 0n,
        },
        {
          "major": 254n,
          "minor": 0n,
          "op": "Total",
          "value": 130n,
        },
      ]
    `);
    expect(blkio_stats.io_service_bytes_recursive.map(({ op }) => op)).toEqual(
      "Read Write Sync Async Discard Total".split(" "),
    );
    expect(blkio_stats.sectors_recursive).toEqual([]);
  });

  test("pids come from the cgroups below too, and frozen from the freezer", () => {
    const cgroup = recordedIn("v1", ...all);
    expect(cgroup.pids()).toHaveLength(1);
    expect(cgroup.frozen()).toBe(true);
  });

  test("CFQ's files win over the throttle layer's", () => {
    const { blkio_stats } = recordedIn("v1-written", "blkio").stats();
    expect(blkio_stats.io_serviced_recursive[0]).toEqual({ major: 8n, minor: 0n, op: "Read", value: 124n });
    expect(blkio_stats.io_service_bytes_recursive).toHaveLength(5);
    expect(blkio_stats.io_queued_recursive).toHaveLength(5);
    expect(blkio_stats.io_service_time_recursive[0]?.value).toBe(4171216n);
    expect(blkio_stats.io_wait_time_recursive[0]?.value).toBe(2039n);
    expect(blkio_stats.io_merged_recursive[0]?.value).toBe(3n);
    expect(blkio_stats.io_time_recursive).toEqual([{ major: 8n, minor: 0n, op: "", value: 103n }]);
    expect(blkio_stats.sectors_recursive).toEqual([{ major: 8n, minor: 0n, op: "", value: 6792n }]);
  });

  test("huge pages by size, reservations left out", () => {
    expect(recordedIn("v1-written", "hugetlb").stats().hugetlb_stats).toEqual({
      "2MB": { usage: 4194304n, max_usage: 6291456n, failcnt: 3n, limit: 8388608n },
      "1GB": { usage: 0n, max_usage: 0n, failcnt: 0n, limit: 9223372036854771712n },
    });
  });

  test("controllers that v1 does not have come from v2 beside it", () => {
    const cgroup = new CgroupV1(new Map([["pids", `${recorded}/v1/pids`]]), `${recorded}/v2`);
    const stats = cgroup.stats();
    expect(stats.pids_stats.limit).toBe(32n);
    expect(stats.memory_stats.usage.usage).toBe(31457280n);
    expect(stats.cpu_stats.cpu_usage.total_usage).toBe(1571000000n);
    expect(stats.blkio_stats.io_serviced_recursive).toHaveLength(4);
  });

  test("without a controller its numbers are zeros, and there is no OOM watch", () => {
    const cgroup = recordedIn("v1", "cpuacct");
    const { cpu_stats, ...others } = cgroup.stats();
    const { cpu_stats: _, ...zeros } = emptyStats();
    expect(others).toEqual(zeros);
    expect(cpu_stats.throttling_data.periods).toBe(0n);
    expect(() => cgroup.watchOom()).toThrow("no memory controller");
    expect(cgroup.frozen()).toBe(false);
  });

  test("a cgroup that is not there is refused", () => {
    expect(() => recordedIn("v1", "no-such-controller")).toThrow("ENOENT");
  });
});

describe.skipIf(!hasHierarchies("pids", "cpuacct", "freezer"))("real", () => {
  test("pids here and below; a removed cgroup has none, nor has one that gets its name", async () => {
    await using scratch = new ScratchCgroup(["pids", "freezer"]);
    scratch.makeBelow("a");
    scratch.makeBelow("a/b");
    const cgroup = new CgroupV1(scratch.paths);
    expect(cgroup.pids()).toEqual([]);
    const pids = [
      await scratch.runReady("exec sleep 1000"),
      await scratch.runReady("exec sleep 1000", "a"),
      await scratch.runReady("exec sleep 1000", "a/b"),
    ].sort((a, b) => a - b);
    expect(cgroup.pids()).toEqual(pids);
    expect(cgroup.stats().pids_stats.current).toBe(3n);

    await scratch.remove();
    expect(cgroup.pids()).toEqual([]);
    expect(() => cgroup.stats()).toThrow("ENOENT");
    execFileSync("mkdir", [scratch.path("pids")]);
    writeFileSync(`${scratch.path("pids")}/cgroup.procs`, String(process.pid));
    try {
      expect(cgroup.pids()).toEqual([]);
      expect(() => cgroup.stats()).toThrow("ENOENT");
    } finally {
      writeFileSync("/sys/fs/cgroup/pids/cgroup.procs", String(process.pid));
    }
  });

  test("CPU time grows", async () => {
    await using scratch = new ScratchCgroup(["cpuacct"]);
    await scratch.runReady("while :; do :; done");
    const cgroup = new CgroupV1(scratch.paths);
    const before = cgroup.stats().cpu_stats;
    expect(before.cpu_usage.percpu_usage).toHaveLength(cpus().length);
    await vi.waitUntil(
      () => cgroup.stats().cpu_stats.cpu_usage.usage_in_usermode > before.cpu_usage.usage_in_usermode,
      10_000,
    );
    const after = cgroup.stats().cpu_stats;
    expect(after.cpu_usage.total_usage).toBeGreaterThan(before.cpu_usage.total_usage);
    expect(after.system_usage).toBeGreaterThan(before.system_usage);
  });

  test("frozen and thawed", async () => {
    await using scratch = new ScratchCgroup(["freezer"]);
    await scratch.runReady("exec sleep 1000");
    const cgroup = new CgroupV1(scratch.paths);
    expect(cgroup.frozen()).toBe(false);
    scratch.write("freezer", "freezer.state", "FROZEN");
    expect(cgroup.frozen()).toBe(true);
    scratch.write("freezer", "freezer.state", "THAWED");
    expect(cgroup.frozen()).toBe(false);
  });
});
