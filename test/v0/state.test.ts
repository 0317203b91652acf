/**
 * State: what it tells of containers that run, are paused, are just ending. What it tells of one container is in start.test.ts and
 * exec.test.ts.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { status } from "../harness/api.js";
import { cgroupDirectory } from "../harness/cgroup-files.js";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { outsideRuntime, withoutCgroups } from "../harness/no-host-cgroup.js";
import { processes } from "../harness/processes.js";
import { eventually } from "../harness/wait.js";

let daemon: TestDaemon;
beforeAll(async () => {
  daemon = await startDaemon();
});
afterAll(async () => {
  await daemon[Symbol.asyncDispose]();
});

const stateOf = async ({ id }: TestContainer, of = daemon) => (await of.api.state({ id })).containers[0]!;

async function end(...containers: TestContainer[]): Promise<void> {
  await Promise.all(containers.map((container) => container.kill()));
  await Promise.all(containers.map((container) => container.exit()));
}

/** The host pids of the processes in the container's cgroup, by /proc. */
const inside = ({ id }: TestContainer) =>
  processes()
    .filter(({ cgroups }) => cgroups.some((path) => path.endsWith(`/${id}`)))
    .map(({ pid }) => pid)
    .sort();

test("pids: the init's, the execs' and everything they have started, from the cgroup", async () => {
  using container = await startContainer(daemon, {
    name: "pids",
    args: ["sh", "-c", "sleep 1000 & sleep 1000 & wait"],
  });
  await startExec(daemon, container, { pid: "e", args: ["sh", "-c", "sleep 1001 & wait"] });
  const { pids } = await eventually(async () => {
    const state = await stateOf(container);
    return state.pids.length === 5 && state;
  });
  expect([...pids].sort()).toEqual(inside(container));
  await end(container);
});

test("no process of the daemon's or the shim's is among them", async () => {
  using container = await startContainer(daemon, { name: "own", args: ["sleep", "1000"] });
  const { pids, processes: listed } = await stateOf(container);
  expect(pids).toEqual([listed[0]!.systemPid]);
  await eventually(() => readFileSync(`/proc/${pids[0]}/comm`, "utf8") === "sleep\n");
  await end(container);
});

test("a paused container: 'paused', with its pids; 'running' again afterwards", async () => {
  using container = await startContainer(daemon, { name: "paused", args: ["sh", "-c", "sleep 1000 & wait"] });
  await eventually(async () => (await stateOf(container)).pids.length === 2);
  await daemon.api.updateContainer({ id: container.id, status: "paused" });
  expect(await stateOf(container)).toMatchObject({ status: "paused", pids: inside(container) });
  const all = (await daemon.api.state()).containers;
  expect(all.find(({ id }) => id === container.id)?.status).toBe("paused");
  await daemon.api.updateContainer({ id: container.id, status: "running" });
  expect((await stateOf(container)).status).toBe("running");
  await end(container);
});

test.runIf(existsSync("/sys/fs/cgroup/pids"))(
  "processes in cgroups below the container's own are there too",
  async () => {
    using container = await startContainer(daemon, { name: "nested", args: ["sh", "-c", "sleep 1000 & wait"] });
    const before = await eventually(async () => {
      const { pids } = await stateOf(container);
      return pids.length === 2 && pids;
    });
    const below = join(cgroupDirectory(before[0]!, "pids"), "below");
    mkdirSync(below);
    writeFileSync(join(below, "cgroup.procs"), String(Math.max(...before)));
    expect((await stateOf(container)).pids).toEqual(before);
    await end(container);
    expect(existsSync(below)).toBe(false);
  },
);

test("labels and runtime come as they were given", async () => {
  const labels = ["a=b", "", "größer=世界", "x".repeat(1000)];
  using container = await startContainer(daemon, { name: "labels", args: ["sleep", "1000"], request: { labels } });
  expect(await stateOf(container)).toMatchObject({ labels, runtime: "runc", bundlePath: container.bundle });
  await end(container);
});

test("errors: unknown container", async () => {
  await expect(daemon.api.state({ id: "nobody" })).rejects.toMatchObject({
    code: status.NOT_FOUND,
    details: "containerd: container not found",
  });
});

test("never fails while containers start and end, and tells of each that runs all the while", async () => {
  using steady = await startContainer(daemon, { name: "steady", args: ["sleep", "1000"] });
  let over = false;
  let calls = 0;
  const ends = (async () => {
    // Until enough has been asked meanwhile, however slow the machine.
    for (let round = 0; round < 6 || calls <= 100; round++) {
      await Promise.all(
        Array.from({ length: 8 }, async (_, n) => {
          using short = await startContainer(daemon, {
            name: `short-${round}-${n}`,
            args: ["sh", "-c", `sleep 0.0${n}; exit ${n}`],
          });
          await startExec(daemon, short, { pid: "e", args: ["true"] }).catch(() => {});
          expect(await short.exit()).toBe(n);
        }),
      );
    }
  })().finally(() => {
    over = true;
  });
  while (!over) {
    const answers = await Promise.all([daemon.api.state(), daemon.api.state(), daemon.api.state({ id: steady.id })]);
    calls += answers.length;
    for (const { containers } of answers) {
      const found = containers.find(({ id }) => id === steady.id);
      expect(found).toMatchObject({ status: "running", pids: [expect.any(Number)] });
      for (const { processes: listed } of containers) expect(listed.length).toBeGreaterThan(0);
    }
  }
  await ends;
  await end(steady);
  await daemon.expectNothingLeft();
});

test("a container without a cgroup on this host: the runtime is asked for its pids", async () => {
  await using blind = await startDaemon({ wrapper: withoutCgroups() });
  const runtime = outsideRuntime(blind.dir, "outside");
  using container = await startContainer(blind, {
    name: "vm",
    args: ["sh", "-c", "sleep 1000 & wait"],
    request: { runtime },
  });
  const state = await eventually(async () => {
    const found = await stateOf(container, blind);
    return found.pids.length === 2 && found;
  });
  expect([...state.pids].sort()).toEqual(inside(container));
  expect(readFileSync(`${runtime}.calls`, "utf8")).toContain(`ps --format json ${container.id}`);
  await blind.api.signal({ id: container.id, pid: "init", signal: 9 });
  await container.exit();
});
