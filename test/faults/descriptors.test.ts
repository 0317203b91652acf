/** A daemon that runs out of descriptors: clear errors, and everything goes on when there are some again. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Api } from "../harness/api.js";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { leaveDescriptors, openDescriptors } from "../harness/processes.js";
import { eventually } from "../harness/wait.js";

function giveDescriptors(daemon: TestDaemon): void {
  execFileSync("prlimit", ["--pid", `${daemon.pid}`, "--nofile=4096:4096"]);
}

test("starts fail clearly, containers go on, exits are told, and later starts succeed", async () => {
  await using daemon = await startDaemon();
  // The subscription's connection has to be there before.
  using first = await startContainer(daemon, { name: "first", args: ["sleep", "1000"] });
  const before = daemon.snapshot();
  leaveDescriptors(daemon.pid, 14);
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
  giveDescriptors(daemon);
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
  const limit = leaveDescriptors(daemon.pid, 10);
  const sockets = Array.from({ length: 30 }, () =>
    connect(daemon.listen.slice("unix://".length)).on("error", () => {}),
  );
  await eventually(() => {
    const open = openDescriptors(daemon.pid);
    return Array.from({ length: limit }, (_, fd) => fd).every((fd) => open.has(fd));
  });
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
  giveDescriptors(daemon);
  await daemon.expectNothingLeft();
});

test("execs and checkpoints that fail wherever the descriptors end leave nothing, and their names are free again", async () => {
  await using daemon = await startDaemon();
  using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
  const { id } = container;
  const checkpointDir = join(daemon.dir, "checkpoints");
  mkdirSync(checkpointDir);
  const exec = (pid: string) => daemon.api.addProcess({ id, pid, args: ["true"], cwd: "/" });
  const exited = (pid: string) => daemon.events.waitFor({ type: "exit", id, pid });
  const failed: string[] = [];
  for (let free = 0; free < 12; free++) {
    leaveDescriptors(daemon.pid, free);
    const pid = `e${free}`;
    const [failure] = await Promise.all([
      exec(pid).then(
        () => undefined,
        (error: Error) => error,
      ),
      daemon.api.createCheckpoint({ id, checkpoint: { name: pid }, checkpointDir }).catch(() => {}),
    ]);
    giveDescriptors(daemon);
    if (failure === undefined) await exited(pid);
    else failed.push(pid);
  }
  expect(failed.length).toBeGreaterThan(2);
  for (const pid of failed) {
    await exec(pid);
    await exited(pid);
  }
  await eventually(
    () =>
      readdirSync(join(daemon.stateDir, id), { withFileTypes: true }).filter((entry) => entry.isDirectory()).length ===
      1,
  );
  // What a runtime without CRIU, or with it, did not end well is no checkpoint.
  const { checkpoints } = await daemon.api.listCheckpoint({ id, checkpointDir });
  expect(readdirSync(checkpointDir).sort()).toEqual(checkpoints.map(({ name }) => name).sort());
  await container.kill();
  expect(await container.exit()).toBe(137);
  await daemon.expectNothingLeft();
});
