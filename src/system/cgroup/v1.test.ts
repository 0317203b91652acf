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

  test("every part", () => {
    const { cpu, memory, io, pids } = recordedIn("v1", ...all).stats();
    const { host, ...own } = cpu;
    expect(own).toEqual({
      total: 452765398n,
      perCpu: [94163633n, 358601765n],
      user: 290000000n,
      kernel: 160000000n,
      periods: 31n,
      throttledPeriods: 21n,
      throttledTime: 1649734581n,
    });
    expect(host).toBeGreaterThan(0n);
    expect(pids).toEqual({ current: 1n, limit: 32n });
    const { lines, ...counted } = memory;
    expect(counted).toEqual({
      cache: 65032192n,
      ram: { usage: 65536000n, peak: 67108864n, limitHits: 16n, limit: 67108864n },
      ramAndSwap: { usage: 65536000n, peak: 69206016n, limitHits: 0n, limit: 9223372036854771712n },
      swap: { usage: 0n, peak: 0n, limitHits: 0n, limit: 0n },
      kernel: { usage: 57344n, peak: 208896n, limitHits: 0n, limit: 9223372036854771712n },
      kernelTcp: { usage: 0n, peak: 0n, limitHits: 0n, limit: 9223372036854771712n },
      events: { oom_kill_disable: 0n, under_oom: 0n, oom_kill: 0n },
    });
    expect(Object.keys(lines)).toHaveLength(42);
    expect(lines).toMatchObject({ cache: memory.cache, hierarchical_memory_limit: 67108864n });
    // No request went through BFQ here: its files are there and empty, the throttle layer's count.
    expect(io.requests).toEqual(
      Object.entries({ Read: 30n, Write: 100n, Sync: 130n, Async: 0n, Discard: 0n, Total: 130n }).map(
        ([operation, value]) => ({ major: 254, minor: 0, operation, value }),
      ),
    );
    expect(io.bytes.map(({ operation }) => operation)).toEqual("Read Write Sync Async Discard Total".split(" "));
    expect(io.sectors).toEqual([]);
  });

  test("pids come from the cgroups below too, and frozen from the freezer", () => {
    const cgroup = recordedIn("v1", ...all);
    expect(cgroup.pids()).toHaveLength(1);
    expect(cgroup.frozen()).toBe(true);
  });

  test("CFQ's files win over the throttle layer's", () => {
    const { io } = recordedIn("v1-written", "blkio").stats();
    expect(io.requests[0]).toEqual({ major: 8, minor: 0, operation: "Read", value: 124n });
    expect(io.bytes).toHaveLength(5);
    expect(io.queued).toHaveLength(5);
    expect(io.serviceTime[0]?.value).toBe(4171216n);
    expect(io.waitTime[0]?.value).toBe(2039n);
    expect(io.merged[0]?.value).toBe(3n);
    expect(io.time).toEqual([{ major: 8, minor: 0, operation: "", value: 103n }]);
    expect(io.sectors).toEqual([{ major: 8, minor: 0, operation: "", value: 6792n }]);
  });

  test("huge pages by size, reservations left out", () => {
    expect(recordedIn("v1-written", "hugetlb").stats().hugePages).toEqual({
      "2MB": { usage: 4194304n, peak: 6291456n, limitHits: 3n, limit: 8388608n },
      "1GB": { usage: 0n, peak: 0n, limitHits: 0n, limit: 9223372036854771712n },
    });
  });

  test("controllers that v1 does not have come from v2 beside it", () => {
    const cgroup = new CgroupV1(new Map([["pids", `${recorded}/v1/pids`]]), `${recorded}/v2`);
    const stats = cgroup.stats();
    expect(stats.pids.limit).toBe(32n);
    expect(stats.memory.ram.usage).toBe(31457280n);
    expect(stats.cpu.total).toBe(1571000000n);
    expect(stats.io.requests).toHaveLength(4);
  });

  test("without a controller its numbers are zeros, and there is no OOM watch", () => {
    const cgroup = recordedIn("v1", "cpuacct");
    const { cpu, ...others } = cgroup.stats();
    const { cpu: _, ...zeros } = emptyStats();
    expect(others).toEqual(zeros);
    expect(cpu.periods).toBe(0n);
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
    expect(cgroup.stats().pids.current).toBe(3n);

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
    const before = cgroup.stats().cpu;
    expect(before.perCpu).toHaveLength(cpus().length);
    await vi.waitUntil(() => cgroup.stats().cpu.user > before.user, 10_000);
    const after = cgroup.stats().cpu;
    expect(after.total).toBeGreaterThan(before.total);
    expect(after.host).toBeGreaterThan(before.host);
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
