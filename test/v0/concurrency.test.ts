/** Many callers at once. */
import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { startContainer } from "../harness/container.js";
import { startDaemon } from "../harness/daemon.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { eventually } from "../harness/wait.js";

test("100 containers by 100 callers: all run, all stop, nothing is left", async () => {
  await using daemon = await startDaemon();
  // What is opened once and kept: connections, the first start's files.
  await using first = await startContainer(daemon, { name: "first", args: ["true"] });
  await first.exit();
  await daemon.expectNothingLeft();
  const before = daemon.snapshot();

  const names = Array.from({ length: 100 }, (_, n) => `c${n}`);
  const containers = await Promise.all(
    names.map((name) =>
      startContainer(daemon, {
        name,
        args: ["sh", "-c", "echo $NAME; sleep 1000"],
        env: [`NAME=${name}`],
        stdio: true,
      }),
    ),
  );
  const state = await daemon.api.state();
  expect(state.containers).toHaveLength(100);
  for (const { status, pids, processes } of state.containers) {
    expect(status).toBe("running");
    expect(pids.length).toBeGreaterThan(0);
    expect(processes).toHaveLength(1);
  }
  await Promise.all(containers.map((container, n) => container.printed(`${names[n]}\n`)));

  await Promise.all(containers.map((container) => container.kill()));
  const statuses = await Promise.all(containers.map((container) => container.exit()));
  expect(statuses).toEqual(names.map(() => 137));
  const outputs = await Promise.all(containers.map((container) => container.output()));
  expect(outputs.map(({ stdout }) => stdout.toString())).toEqual(names.map((name) => `${name}\n`));
  for (const container of containers) container[Symbol.dispose]();

  expect((await daemon.api.state()).containers).toEqual([]);
  await daemon.expectNothingLeft({ before });
  for (const { id } of containers)
    expect(daemon.events.all({ id }).map(({ type }) => type)).toEqual(["start-container", "exit"]);
});

test("100 containers that end at once, started while others end", async () => {
  await using daemon = await startDaemon();
  const before = daemon.snapshot();
  void daemon.events;
  const statuses = await Promise.all(
    Array.from({ length: 100 }, async (_, n) => {
      await using container = await startContainer(daemon, { name: `s${n}`, args: ["sh", "-c", `exit ${n}`] });
      // Awaited here: the container is killed when this block ends.
      return await container.exit();
    }),
  );
  expect(statuses).toEqual(Array.from({ length: 100 }, (_, n) => n));
  // The one connection of the subscription and the calls came after the snapshot at most once.
  await daemon.expectNothingLeft({ before });
});

test("the same id again and again, as fast as it becomes free", async () => {
  await using daemon = await startDaemon();
  const before = daemon.snapshot();
  const id = daemon.id("same");
  const bundlePath = daemon.bundle("same", { args: ["true"] });
  for (let round = 1; round <= 30; round++) {
    await daemon.api.createContainer({ id, bundlePath });
    await eventually(() => daemon.events.all({ id, type: "exit" }).length === round, { interval: 1 });
  }
  await daemon.expectNothingLeft({ before });
});

test("State is complete, and waits for no start, while containers come and go", async () => {
  await using daemon = await startDaemon();
  const steady = await Promise.all(
    Array.from({ length: 20 }, (_, n) => startContainer(daemon, { name: `steady-${n}`, args: ["sleep", "1000"] })),
  );
  const starts: number[] = [];
  let busy = true;
  const work = (async () => {
    for (let round = 0; round < 5; round++)
      await Promise.all(
        Array.from({ length: 10 }, async (_, n) => {
          const begin = performance.now();
          await using container = await startContainer(daemon, { name: `brief-${round}-${n}`, args: ["true"] });
          starts.push(performance.now() - begin);
          await container.exit();
        }),
      );
  })().finally(() => {
    busy = false;
  });
  const times: number[] = [];
  while (busy) {
    const begin = performance.now();
    const { containers } = await daemon.api.state();
    times.push(performance.now() - begin);
    const ids = new Set(containers.map(({ id }) => id));
    for (const { id } of steady) expect(ids).toContain(id);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await work;
  const median = (numbers: number[]) => numbers.sort((a, b) => a - b)[Math.floor(numbers.length / 2)]!;
  expect(times.length).toBeGreaterThan(starts.length / 10);
  expect(median(times)).toBeLessThan(median(starts) / 2);
});

test("a container whose runtime hangs holds up nobody else", async () => {
  await using daemon = await startDaemon({ flags: ["--start-timeout", "10m"] });
  await using running = await startContainer(daemon, { name: "running", args: ["sleep", "1000"] });
  const hanging = wrapRuntime(daemon.dir, "hanging", ["create", "exec", "pause"], { kind: "hang" });
  await using stuck = await startContainer(daemon, {
    name: "stuck",
    args: ["sleep", "1000"],
    request: { runtime: hanging.path },
  });
  hanging.on();
  const abort = new AbortController();
  const call = { signal: abort.signal, timeout: 600_000 };
  let over = false;
  const stuckCalls = [
    daemon.api.createContainer(
      { id: daemon.id("never"), bundlePath: daemon.bundle("never", { args: ["true"] }), runtime: hanging.path },
      call,
    ),
    daemon.api.addProcess({ id: stuck.id, pid: "p", args: ["true"], cwd: "/", env: ["PATH=/bin"] }, call),
    daemon.api.updateContainer({ id: stuck.id, status: "paused" }, call),
  ];
  for (const stuckCall of stuckCalls)
    stuckCall
      .catch(() => {})
      .finally(() => {
        over = true;
      });
  await eventually(() => readdirSync(`${daemon.stateDir}/${stuck.id}`).includes("p"));

  await daemon.api.state();
  await daemon.api.addProcess({ id: running.id, pid: "p", args: ["true"], cwd: "/", env: ["PATH=/bin"] });
  await daemon.api.updateContainer({ id: running.id, status: "paused" });
  await daemon.api.updateContainer({ id: running.id, status: "running" });
  await daemon.api.stats({ id: running.id });
  await using other = await startContainer(daemon, { name: "other", args: ["true"] });
  expect(await other.exit()).toBe(0);
  expect(over).toBe(false);
  abort.abort();
  await Promise.allSettled(stuckCalls);
});
