/** Containers that end with the program that has made them, or when their time is over, whoever is there to see it. */
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type RunningProgram, startProgram } from "../client/typescript-program.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { eventually, sleep } from "../harness/wait.js";

/** Makes one container that belongs to it and one that does not, then waits until it is killed. */
const PROGRAM = `
  import { connect } from "containerd-ts";
  const [owned, free, bundlePath] = process.argv.slice(2);
  const client = connect();
  await client.v0.api.createContainer({ id: owned, bundlePath, owned: true });
  await client.v0.api.createContainer({ id: free, bundlePath });
  console.log("started");
  setInterval(() => {}, 1000);
`;

async function startOwner(daemon: TestDaemon): Promise<RunningProgram & { owned: string; free: string }> {
  const [owned, free] = [daemon.id("owned"), daemon.id("free")];
  const bundle = daemon.bundle("sleeping", { args: ["sleep", "1000"] });
  const running = await startProgram(daemon, { text: PROGRAM }, [owned, free, bundle]);
  await running.printed("started");
  return Object.assign(running, { owned, free });
}

async function ids(daemon: TestDaemon): Promise<string[]> {
  return (await daemon.api.state()).containers.map(({ id }) => id).toSorted();
}

const becomes = (daemon: TestDaemon, expected: string[]) =>
  eventually(async () => JSON.stringify(await ids(daemon)) === JSON.stringify(expected.toSorted()), {
    what: `${expected.join(", ") || "no container"} to be all that runs`,
  });

test("a container ends with its program, also a paused one; others of that program run on", async () => {
  await using daemon = await startDaemon();
  using owner = await startOwner(daemon);
  const { owned, free } = owner;
  await daemon.api.updateContainer({ id: owned, status: "paused" });
  void daemon.events;
  owner.child.kill("SIGKILL");
  expect(await daemon.events.waitFor({ type: "exit", id: owned })).toMatchObject({ pid: "init", status: 137 });
  await becomes(daemon, [free]);
  await daemon.api.signal({ id: free, signal: 9, pid: "init" });
  await daemon.expectNothingLeft();
});

test("the program may outlive daemons, and die while there is none", async () => {
  await using daemon = await startDaemon();
  using owner = await startOwner(daemon);
  const { owned, free } = owner;
  await daemon.restart({ kill: true });
  expect(await ids(daemon)).toEqual([free, owned].toSorted());
  await daemon.kill();
  owner.child.kill("SIGKILL");
  await owner.result;
  await daemon.start();
  await becomes(daemon, [free]);
});

test("the program that a later daemon has taken over from state.json is watched by that one, too", async () => {
  await using daemon = await startDaemon();
  using owner = await startOwner(daemon);
  await daemon.restart();
  owner.child.kill("SIGKILL");
  await becomes(daemon, [owner.free]);
});

test("another process with the owner's pid is not the owner", async () => {
  await using daemon = await startDaemon();
  using owner = await startOwner(daemon);
  const state = JSON.parse(readFileSync(join(daemon.stateDir, owner.owned, "state.json"), "utf8"));
  expect(state.owner).toEqual({
    pid: owner.child.pid,
    startTime: expect.stringMatching(/^\d+$/),
    bootId: readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim(),
  });
  for (const change of [{ startTime: "1" }, { bootId: "another boot" }]) {
    const id = daemon.id(`changed-${Object.keys(change)[0]}`);
    await daemon.api.createContainer({ id, bundlePath: daemon.bundle("sleeping", { args: ["sleep", "1000"] }) });
    await daemon.kill();
    const file = join(daemon.stateDir, id, "state.json");
    const changed = { ...JSON.parse(readFileSync(file, "utf8")), owner: { ...state.owner, ...change } };
    writeFileSync(file, JSON.stringify(changed));
    await daemon.start();
    await becomes(daemon, [owner.owned, owner.free]);
  }
});

test("a caller whose process the daemon can't see is never taken for dead", async () => {
  const port = await new Promise<number>((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
  await using daemon = await startDaemon({ listen: `tcp://127.0.0.1:${port}`, flags: ["--insecure-tcp"] });
  using owner = await startOwner(daemon);
  owner.child.kill("SIGKILL");
  await owner.result;
  await daemon.restart();
  expect(await ids(daemon)).toEqual([owner.free, owner.owned].toSorted());
});

test("a container is ended when its time is over, by whichever daemon is there then, and not before", async () => {
  const OVER = 3000;
  await using daemon = await startDaemon();
  const bundlePath = daemon.bundle("sleeping", { args: ["sleep", "1000"] });
  const start = (name: string, lifetime: number) =>
    daemon.api.createContainer({ id: daemon.id(name), bundlePath, lifetime: BigInt(lifetime) });
  // 2^31 ms and more is what Node's timers do not take.
  for (const [name, lifetime] of [
    ["short", 1500],
    ["over", OVER],
    ["long", 2 ** 31 + 1000],
    ["longest", 2 ** 52],
  ] as const)
    await start(name, lifetime);
  const began = performance.now();
  const exit = await daemon.events.waitFor({ type: "exit" });
  expect(exit).toMatchObject({ id: daemon.id("short"), status: 137 });
  await daemon.kill();
  await sleep(Math.max(0, began + OVER - performance.now()));
  await daemon.start();
  await becomes(daemon, [daemon.id("long"), daemon.id("longest")]);
});
