/** However state directory, shim and runtime are named: relative to where the daemon was started, behind links, or gone since. */
import { copyFileSync, mkdirSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { join, relative } from "node:path";
import { expect, test } from "vitest";
import { startContainer } from "../harness/container.js";
import { type DaemonOptions, TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { findProgram, shimProgram } from "../harness/paths.js";
import { type RuntimeWrapper, wrapRuntime } from "../harness/runtime-wrapper.js";
import { eventually } from "../harness/wait.js";

/** A daemon that is not started yet, so that its flags can name what is in its directory; they may be changed between starts. */
function newDaemon(): { daemon: TestDaemon; flags: string[] } {
  const options: DaemonOptions & { flags: string[] } = { flags: [] };
  return { daemon: new TestDaemon(options), flags: options.flags };
}

const fromHere = (path: string) => relative(process.cwd(), path);

/** A container with an exec that is being made when the daemon is killed: both are there afterwards, and end as they should. */
async function expectWorks(daemon: TestDaemon): Promise<void> {
  const slow: RuntimeWrapper = wrapRuntime(daemon.dir, "slow", "exec", { kind: "sleep", seconds: 2 });
  using container = await startContainer(daemon, {
    name: "c",
    args: ["sleep", "1000"],
    request: { runtime: slow.path },
  });
  slow.on();
  const request = { id: container.id, pid: "e", args: ["sh", "-c", "exit 12"], cwd: "/", env: ["PATH=/bin"] };
  const call = daemon.api.addProcess(request);
  call.catch(() => {});
  await eventually(() => daemon.leftovers().some((line) => line.includes(`sleep 2`)), { what: "the runtime's call" });
  await daemon.kill();
  slow.off();
  await daemon.start();
  expect((await daemon.events.waitFor({ type: "exit", id: container.id, pid: "e" })).status).toBe(12);
  expect(daemon.events.all({ type: "start-process", id: container.id, pid: "e" })).toHaveLength(1);
  using exec = await startExec(daemon, container, { pid: "f", args: ["true"] });
  expect(await exec.exit()).toBe(0);
  await container.kill();
  expect(await container.exit()).toBe(137);
  await daemon.expectNothingLeft();
}

test("a relative state directory", async () => {
  const { daemon, flags } = newDaemon();
  await using _end = daemon;
  flags.push("--state-dir", fromHere(daemon.stateDir));
  await daemon.start();
  await expectWorks(daemon);
});

test("a relative shim and runtime", async () => {
  const { daemon, flags } = newDaemon();
  await using _end = daemon;
  flags.push("--shim", fromHere(shimProgram), "--runtime", fromHere(findProgram("runc")!));
  await daemon.start();
  using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
  using exec = await startExec(daemon, container, { pid: "e", args: ["sh", "-c", "exit 4"] });
  expect(await exec.exit()).toBe(4);
  await daemon.restart({ kill: true });
  await container.kill();
  expect(await container.exit()).toBe(137);
  await daemon.expectNothingLeft();
});

test.each(["itself", "a directory above it"])("a state directory that is behind a link: %s", async (what) => {
  const { daemon, flags } = newDaemon();
  await using _end = daemon;
  mkdirSync(daemon.stateDir, { mode: 0o700 });
  symlinkSync(what === "itself" ? daemon.stateDir : daemon.dir, join(daemon.dir, "link"));
  flags.push("--state-dir", what === "itself" ? join(daemon.dir, "link") : join(daemon.dir, "link", "state"));
  await daemon.start();
  await expectWorks(daemon);
});

test("a container whose shim's program is gone, before or after the daemon's start, gets ours for its execs", async () => {
  const { daemon, flags } = newDaemon();
  await using _end = daemon;
  const old = join(daemon.dir, "old", "containerd-shim");
  mkdirSync(join(daemon.dir, "old"));
  copyFileSync(shimProgram, old);
  flags.push("--shim", old);
  await daemon.start();
  using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
  await daemon.kill();
  flags.length = 0;
  await daemon.start();
  renameSync(old, `${old}.away`);
  using exec = await startExec(daemon, container, { pid: "e", args: ["sh", "-c", "exit 5"] });
  expect(await exec.exit()).toBe(5);
  rmSync(join(daemon.dir, "old"), { recursive: true });
  await daemon.restart({ kill: true });
  using another = await startExec(daemon, container, { pid: "f", args: ["sh", "-c", "exit 6"] });
  expect(await another.exit()).toBe(6);
  await container.kill();
  expect(await container.exit()).toBe(137);
  await daemon.expectNothingLeft();
});
