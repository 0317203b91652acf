/** Stats: every field against the files of the cgroup (v1; v2 is in crun.test.ts), the network, and the runtime's own numbers. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { status, type wire } from "../harness/api.js";
import { cgroupDirectory, cgroupFile } from "../harness/cgroup-files.js";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { outsideRuntime, withoutCgroups } from "../harness/no-host-cgroup.js";
import { eventually } from "../harness/wait.js";

const isV1 = existsSync("/sys/fs/cgroup/memory/memory.limit_in_bytes");

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startDaemon();
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

const MB = 2 ** 20;
const pidOf = (container: TestContainer) => container.response.container!.processes[0]!.systemPid;

async function end(container: TestContainer): Promise<void> {
  await container.kill();
  await container.exit();
}

/** Nothing changes in it while it is compared. */
const pause = ({ id }: TestContainer, of = daemon) => of.api.updateContainer({ id, status: "paused" });
const resume = ({ id }: TestContainer, of = daemon) => of.api.updateContainer({ id, status: "running" });

describe.runIf(isV1)("a container that has computed, written and used memory", () => {
  let container: TestContainer;
  let stats: wire.StatsResponse;
  let cgroup: wire.CgroupStats;
  let asked: bigint;
  const file = (controller: string, name: string) => cgroupFile(pidOf(container), controller, name);
  const count = (controller: string, name: string) => BigInt(file(controller, name) ?? 0);
  const keyed = (controller: string, name: string) =>
    Object.fromEntries(
      file(controller, name)!
        .split("\n")
        .map((line) => [line.split(" ")[0]!, BigInt(line.split(" ")[1]!)]),
    );

  beforeAll(async () => {
    container = await startContainer(daemon, {
      name: "busy",
      args: [
        "sh",
        "-c",
        `dd if=/dev/zero of=/data bs=1M count=8 conv=fsync 2>/dev/null
         i=0; while [ $i -lt 500000 ]; do i=$((i+1)); done
         sleep 1000 & echo done; wait`,
      ],
      ownRootfs: true,
      stdio: true,
      spec: (spec) => {
        spec.linux.resources = {
          ...spec.linux.resources,
          memory: { limit: 200 * MB, swap: 300 * MB },
          cpu: { quota: 10_000, period: 50_000 },
          pids: { limit: 77 },
        };
      },
    });
    await container.printed("done");
    await pause(container);
    asked = BigInt(Date.now());
    stats = await daemon.api.stats({ id: container.id });
    cgroup = stats.cgroup_stats!;
  });
  afterAll(async () => {
    await resume(container);
    await end(container);
  });

  test("timestamp", () => {
    const time = stats.timestamp!.seconds * 1000n + BigInt(Math.floor(stats.timestamp!.nanos / 1e6));
    expect(time).toBeGreaterThanOrEqual(asked - 1n);
    expect(time).toBeLessThanOrEqual(BigInt(Date.now()));
  });

  test("cpu_usage", () => {
    const usage = cgroup.cpu_stats!.cpu_usage!;
    expect(usage.total_usage).toBe(count("cpuacct", "cpuacct.usage"));
    expect(usage.total_usage).toBeGreaterThan(10_000_000n);
    expect(usage.percpu_usage).toEqual(file("cpuacct", "cpuacct.usage_percpu")!.split(" ").map(BigInt));
    const ticks = keyed("cpuacct", "cpuacct.stat");
    expect(usage.usage_in_usermode).toBe(ticks.user! * 10_000_000n);
    expect(usage.usage_in_kernelmode).toBe(ticks.system! * 10_000_000n);
  });

  test("throttling_data", () => {
    const { nr_periods, nr_throttled, throttled_time } = keyed("cpu", "cpu.stat");
    const { periods, ...throttled } = cgroup.cpu_stats!.throttling_data!;
    expect(throttled).toEqual({ throttled_periods: nr_throttled, throttled_time });
    // The last period ends after the pause.
    expect(Number(nr_periods! - periods)).toBeOneOf([0, 1]);
    expect(nr_periods).toBeGreaterThan(0n);
  });

  test("system_usage is the host's time", async () => {
    const host = () => {
      const ticks = readFileSync("/proc/stat", "utf8").split("\n")[0]!.split(/\s+/).slice(1, 8);
      return ticks.reduce((sum, each) => sum + BigInt(each), 0n) * 10_000_000n;
    };
    const before = host();
    const { cgroup_stats } = await daemon.api.stats({ id: container.id });
    expect(cgroup_stats!.cpu_stats!.system_usage).toBeGreaterThanOrEqual(before);
    expect(cgroup_stats!.cpu_stats!.system_usage).toBeLessThanOrEqual(host());
  });

  /** The kernel keeps some pages for each CPU that it counts a little later. */
  const near = (value: bigint | undefined, expected: bigint) => {
    expect(Math.abs(Number(value! - expected))).toBeLessThanOrEqual(MB);
  };

  test.each([
    ["usage", "memory", 200 * MB],
    ["swap_usage", "memory.memsw", 300 * MB],
    ["kernel_usage", "memory.kmem", undefined],
  ] as const)("memory: %s", (field, prefix, limit) => {
    const data = cgroup.memory_stats![field]!;
    near(data.usage, count("memory", `${prefix}.usage_in_bytes`));
    expect(data.usage).toBeGreaterThan(0n);
    expect(data.max_usage).toBe(count("memory", `${prefix}.max_usage_in_bytes`));
    expect(data.failcnt).toBe(count("memory", `${prefix}.failcnt`));
    expect(data.limit).toBe(count("memory", `${prefix}.limit_in_bytes`));
    if (limit !== undefined) expect(data.limit).toBe(BigInt(limit));
  });

  test("memory: cache and every line of memory.stat", () => {
    const lines = keyed("memory", "memory.stat");
    const { stats: all, cache } = cgroup.memory_stats!;
    expect(Object.keys(all).sort()).toEqual(Object.keys(lines).sort());
    expect(all.hierarchical_memory_limit).toBe(BigInt(200 * MB));
    near(cache, lines.cache!);
    // Of 8 MB that were written; once the kernel told just 7.
    expect(cache).toBeGreaterThanOrEqual(BigInt(7 * MB));
    expect(cache).toBe(all.cache);
  });

  test("blkio: bytes and operations of the disk", () => {
    const entries = (name: string) =>
      file("blkio", name)!
        .split("\n")
        .map((line) => /^(\d+):(\d+) (\w+) (\d+)$/.exec(line))
        .filter((match) => match !== null)
        .map(([, major, minor, op, value]) => ({
          major: BigInt(major!),
          minor: BigInt(minor!),
          op,
          value: BigInt(value!),
        }));
    const { blkio_stats } = cgroup;
    const names = ["io_service_bytes", "io_serviced"] as const;
    for (const name of names) {
      const bfq = entries(`blkio.bfq.${name}_recursive`);
      const expected = bfq.length > 0 ? bfq : entries(`blkio.throttle.${name}_recursive`);
      expect(blkio_stats![`${name}_recursive`]).toEqual(expected);
      expect(expected.some(({ op, value }) => op === "Write" && value > 0n)).toBe(true);
    }
    // Only the schedulers count these, and the kernel's default ones don't.
    expect(blkio_stats).toMatchObject({
      io_queued_recursive: [],
      io_service_time_recursive: [],
      io_wait_time_recursive: [],
      io_merged_recursive: [],
      io_time_recursive: [],
      sectors_recursive: [],
    });
  });

  test("pids", () => {
    expect(cgroup.pids_stats).toEqual({ current: count("pids", "pids.current"), limit: 77n });
    expect(cgroup.pids_stats!.current).toBe(2n);
  });

  test("hugetlb: every page size that the cgroup counts", () => {
    const directory = cgroupDirectory(pidOf(container), "hugetlb");
    const expected = readdirSync(directory).flatMap(
      (name) => /^hugetlb\.([^.]+)\.(usage_in_bytes|current)$/.exec(name)?.[1] ?? [],
    );
    expect(Object.keys(cgroup.hugetlb_stats).sort()).toEqual(expected.sort());
  });
});

test("the network's numbers are those of the container's own interfaces", async ({ skip }) => {
  using container = await startContainer(daemon, { name: "net", args: ["sleep", "1000"] });
  const pid = pidOf(container);
  expect((await daemon.api.stats({ id: container.id })).network_stats).toEqual([]);
  const inNet = (...args: string[]) => execFileSync("nsenter", ["-t", String(pid), "-n", ...args], { stdio: "pipe" });
  try {
    inNet("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1");
  } catch (error) {
    await end(container);
    skip(`no veth here: ${(error as Error).message}`);
  }
  inNet("ip", "addr", "add", "10.99.0.1/24", "dev", "eth0");
  inNet("ip", "link", "set", "eth0", "up");
  inNet("ip", "link", "set", "eth1", "up");
  // Nobody answers, but the questions go out at one end and come in at the other.
  spawnSync("nsenter", ["-t", String(pid), "-n", "busybox", "ping", "-c", "3", "-i", "0.1", "-W", "1", "10.99.0.2"]);
  // The kernel sends packets of its own, also between the two looks.
  const network_stats = await eventually(async () => {
    const { network_stats } = await daemon.api.stats({ id: container.id });
    const lines = readFileSync(`/proc/${pid}/net/dev`, "utf8").split("\n");
    for (const name of ["eth0", "eth1"]) {
      const columns = lines
        .find((line) => line.trim().startsWith(`${name}:`))!
        .split(":")[1]!
        .trim()
        .split(/\s+/)
        .map(BigInt);
      const found = network_stats.find((each) => each.name === name)!;
      expect(found).toEqual({
        name,
        rx_bytes: columns[0],
        rx_Packets: columns[1],
        Rx_errors: columns[2],
        Rx_dropped: columns[3],
        Tx_bytes: columns[8],
        Tx_packets: columns[9],
        Tx_errors: columns[10],
        Tx_dropped: columns[11],
      });
      expect(found.rx_bytes + found.Tx_bytes).toBeGreaterThan(0n);
    }
    return network_stats;
  });
  expect(network_stats.map(({ name }) => name)).not.toContain("lo");
  await end(container);
});

test("the parts that old clients dereference are there, also of a container that has done nothing", async () => {
  using container = await startContainer(daemon, { name: "idle", args: ["sleep", "1000"] });
  const { timestamp, cgroup_stats } = await daemon.api.stats({ id: container.id });
  expect(timestamp).toBeDefined();
  expect(cgroup_stats?.blkio_stats).toBeDefined();
  expect(cgroup_stats?.cpu_stats?.cpu_usage).toBeDefined();
  expect(cgroup_stats?.cpu_stats?.throttling_data).toBeDefined();
  expect(cgroup_stats?.memory_stats?.usage).toBeDefined();
  await end(container);
});

test("errors: unknown container, also one that ends while it is asked for", async () => {
  const notFound = { code: status.NOT_FOUND, details: "containerd: container not found" };
  await expect(daemon.api.stats({ id: "nobody" })).rejects.toMatchObject(notFound);
  for (let round = 0; round < 5; round++) {
    using container = await startContainer(daemon, { name: `ending-${round}`, args: ["sleep", "1000"] });
    let failure: unknown;
    const ask = async () => {
      while (failure === undefined) {
        await daemon.api.stats({ id: container.id }).catch((error: unknown) => {
          failure = error;
        });
      }
    };
    const asking = Promise.all([ask(), ask()]);
    await end(container);
    await asking;
    expect(failure).toMatchObject(notFound);
  }
});

test("a container without a cgroup on this host: the runtime's `events --stats`", async () => {
  await using blind = await startDaemon({ wrapper: withoutCgroups() });
  const runtime = outsideRuntime(blind.dir, "outside");
  using container = await startContainer(blind, {
    name: "vm",
    args: ["sh", "-c", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo done; sleep 1000"],
    stdio: true,
    memoryLimit: 100 * MB,
    request: { runtime },
  });
  await container.printed("done");
  await pause(container, blind);
  const { cgroup_stats: stats, timestamp } = await blind.api.stats({ id: container.id });
  expect(readFileSync(`${runtime}.calls`, "utf8")).toContain(`events --stats ${container.id}`);
  const pid = pidOf(container);
  expect(timestamp).toBeDefined();
  const count = (controller: string, name: string) => BigInt(cgroupFile(pid, controller, name) ?? 0);
  if (isV1) {
    expect(stats!.cpu_stats!.cpu_usage!.total_usage).toBe(count("cpuacct", "cpuacct.usage"));
    expect(stats!.memory_stats!.usage!.limit).toBe(BigInt(100 * MB));
    expect(stats!.memory_stats!.usage!.max_usage).toBe(count("memory", "memory.max_usage_in_bytes"));
    expect(stats!.memory_stats!.stats.hierarchical_memory_limit).toBe(BigInt(100 * MB));
    expect(stats!.pids_stats!.current).toBe(count("pids", "pids.current"));
  }
  expect(stats!.cpu_stats!.system_usage).toBeGreaterThan(0n);
  await resume(container, blind);
  await blind.api.signal({ id: container.id, pid: "init", signal: 9 });
  await container.exit();
});
