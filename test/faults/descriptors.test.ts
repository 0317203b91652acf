/** A daemon that runs out of descriptors: clear errors, and everything goes on when there are some again. */
import { execFileSync } from "node:child_process";
import { connect } from "node:net";
import { expect, test } from "vitest";
import { Api } from "../harness/api.js";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon } from "../harness/daemon.js";
import { openDescriptors } from "../harness/processes.js";
import { eventually } from "../harness/wait.js";

test("starts fail clearly, containers go on, exits are told, and later starts succeed", async () => {
  await using daemon = await startDaemon();
  // The subscription's connection has to be there before.
  using first = await startContainer(daemon, { name: "first", args: ["sleep", "1000"] });
  const before = daemon.snapshot();
  const limit = openDescriptors(daemon.pid).size + 14;
  execFileSync("prlimit", ["--pid", `${daemon.pid}`, `--nofile=${limit}:4096`]);
  const running: TestContainer[] = [];
  const failures: string[] = [];
  for (let round = 0; round < 3; round++) {
    const starts = Array.from({ length: 12 }, (_, n) =>
      startContainer(daemon, { name: `c${round}-${n}`, args: ["sleep", "1000"] }),
    );
    for (const result of await Promise.allSettled(starts)) {
      if (result.status === "fulfilled") running.push(result.value);
      else failures.push((result.reason as Error).message);
    }
  }
  expect(failures.length).toBeGreaterThan(10);
  for (const failure of failures) expect(failure).toMatch(/too many open files|EMFILE/);
  const { containers } = await daemon.api.state();
  expect(containers.map(({ id }) => id).sort()).toEqual([first.id, ...running.map(({ id }) => id)].sort());
  for (const container of running) {
    await container.kill();
    expect(await container.exit()).toBe(137);
  }
  execFileSync("prlimit", ["--pid", `${daemon.pid}`, "--nofile=4096:4096"]);
  using later = await startContainer(daemon, { name: "later", args: ["sh", "-c", "exit 3"] });
  expect(await later.exit()).toBe(3);
  await expect.poll(() => openDescriptors(daemon.pid).size).toBeLessThanOrEqual(before.descriptors.size + 2);
  await first.kill();
  expect(await first.exit()).toBe(137);
  await daemon.expectNothingLeft();
});

test("more connections than descriptors: clear errors, and all is well when some have gone", async () => {
  await using daemon = await startDaemon();
  using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
  const limit = openDescriptors(daemon.pid).size + 10;
  execFileSync("prlimit", ["--pid", `${daemon.pid}`, `--nofile=${limit}:4096`]);
  const sockets = Array.from({ length: 30 }, () =>
    connect(daemon.listen.slice("unix://".length)).on("error", () => {}),
  );
  // More than the limit where the daemon has inherited one with a higher number.
  await eventually(() => openDescriptors(daemon.pid).size >= limit);
  await daemon.api.getServerVersion();
  await expect(daemon.api.state({ id: container.id })).rejects.toThrow(/RESOURCE_EXHAUSTED.*too many open files/);
  for (const socket of sockets) socket.destroy();
  const api = new Api(daemon.address);
  try {
    expect((await api.state()).containers).toHaveLength(1);
  } finally {
    api.close();
  }
  await container.kill();
  expect(await container.exit()).toBe(137);
  execFileSync("prlimit", ["--pid", `${daemon.pid}`, "--nofile=4096:4096"]);
  await daemon.expectNothingLeft();
});
