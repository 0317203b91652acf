/** A state directory that is full, or that nobody may write to: clear errors, and nothing that runs is lost. */
import { execFileSync, spawnSync } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type EventStream, status, type wire } from "../harness/api.js";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { daemonProgram } from "../harness/paths.js";
import { processes } from "../harness/processes.js";
import { directoryPrefix } from "../harness/run-name.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { eventually, PATIENCE } from "../harness/wait.js";

const FULL = /no space left on device/;

let mount: string;
let stateDir: string;
let filler: string;
beforeEach(() => {
  mount = mkdtempSync(`${directoryPrefix()}disk-`);
  stateDir = join(mount, "state");
  filler = join(mount, "filler");
});
afterEach(() => {
  spawnSync("umount", ["--lazy", mount]);
  rmSync(mount, { recursive: true });
});

function mountDisk(options: string): void {
  execFileSync("mount", ["-t", "tmpfs", "-o", options, "ctd-test", mount]);
  mkdirSync(stateDir);
}

/** Takes every block that is left. */
function fill(): void {
  const { bavail, bsize } = statfsSync(mount);
  appendFileSync(filler, Buffer.alloc(bavail * bsize));
  expect(statfsSync(mount).bavail).toBe(0);
}

/** Makes so many pairs of events. */
async function pauseOften(daemon: TestDaemon, id: string, times: number): Promise<void> {
  for (let n = 0; n < times; n++) {
    await daemon.api.updateContainer({ id, status: "paused" });
    await daemon.api.updateContainer({ id, status: "running" });
  }
  await eventually(() => daemon.events.all({ id, type: "resume" }).length >= times);
}

const told = (events: EventStream, id: string) =>
  events
    .all({ id })
    .map(({ type, pid, status: code }: wire.Event) =>
      type === "exit" ? `exit ${pid} ${code}` : `${type} ${pid}`.trim(),
    );

test("a full disk: starts and execs fail clearly, running containers go on, exits are told, the log is whole again later", async () => {
  mountDisk("size=1m,mode=755");
  await using daemon = await startDaemon({ stateDir });
  using lasting = await startContainer(daemon, { name: "lasting", args: ["sleep", "1000"] });
  using ending = await startContainer(daemon, { name: "ending", args: ["sh", "-c", "read line; exit 7"], stdio: true });
  using exec = await startExec(daemon, ending, { pid: "e", args: ["sh", "-c", "sleep 1000"] });
  fill();

  for (let n = 0; n < 3; n++) {
    await expect(startContainer(daemon, { name: `refused-${n}`, args: ["true"] })).rejects.toThrow(FULL);
    await expect(startExec(daemon, lasting, { pid: `refused-${n}`, args: ["true"] })).rejects.toThrow(FULL);
  }
  const { containers } = await daemon.api.state();
  expect(containers.map(({ id, processes }) => [id, processes.length]).sort()).toEqual([
    [ending.id, 2],
    [lasting.id, 1],
  ]);
  await daemon.api.signal({ id: ending.id, pid: "e", signal: 15 });
  expect(await exec.exit()).toBe(143);
  // Its exit has made room: what the test is about is the next one.
  fill();
  ending.stdio?.stdin.end("now\n");
  expect(await ending.exit()).toBe(7);
  await daemon.api.updateContainer({ id: lasting.id, status: "paused" });
  await daemon.api.updateContainer({ id: lasting.id, status: "running" });

  rmSync(filler);
  using later = await startContainer(daemon, { name: "refused-0", args: ["sh", "-c", "exit 3"] });
  expect(await later.exit()).toBe(3);
  await daemon.restart({ kill: true });
  await daemon.events.waitFor({ type: "exit", id: later.id });
  expect(told(daemon.events, ending.id)).toEqual(["start-container", "start-process e", "exit e 143", "exit init 7"]);
  expect(told(daemon.events, lasting.id)).toEqual(["start-container", "pause", "resume"]);
  expect(daemon.events.all({ id: daemon.id("refused-1") })).toEqual([]);
  await lasting.kill();
  expect(await lasting.exit()).toBe(137);
  await daemon.expectNothingLeft();
});

test("a disk that is full when the daemon is killed: restarted, it has everything that runs", async () => {
  mountDisk("size=1m,mode=755");
  await using daemon = await startDaemon({ stateDir });
  using first = await startContainer(daemon, { name: "first", args: ["sleep", "1000"] });
  using second = await startContainer(daemon, { name: "second", args: ["sleep", "1000"] });
  fill();
  await daemon.kill();
  const pid = second.response.container!.processes[0]!.systemPid;
  process.kill(pid, "SIGTERM");
  process.kill(pid, "SIGKILL");
  await daemon.start();
  await daemon.events.waitFor({ type: "exit", id: second.id, status: 137 });
  expect((await daemon.api.state()).containers.map(({ id }) => id)).toEqual([first.id]);
  await first.kill();
  expect(await first.exit()).toBe(137);
  await daemon.expectNothingLeft();
});

test("a disk that is full for long, and a kill: every event of that time is there, once", async () => {
  mountDisk("size=2m,mode=755");
  const retained = 60;
  await using daemon = await startDaemon({ stateDir, flags: ["--retain-count", `${retained}`] });
  using lasting = await startContainer(daemon, { name: "lasting", args: ["sleep", "1000"] });
  using ending = await startContainer(daemon, { name: "ending", args: ["sleep", "1000"] });
  using exec = await startExec(daemon, ending, { pid: "e", args: ["sleep", "1000"] });
  fill();
  /** The next daemon tells what this one has told, as far as it keeps that, and nothing besides. */
  const expectKept = async () => {
    const seen = daemon.events.events;
    await daemon.restart({ kill: true });
    // What it has to tell comes before the answer.
    await daemon.api.state();
    const again = daemon.api.subscribe({ timestamp: seen[0]!.timestamp!, storedOnly: true });
    await again.ended;
    expect(again.events.length).toBeGreaterThanOrEqual(retained);
    expect(again.events).toEqual(seen.slice(-again.events.length));
  };
  // More than the rest of a block, and than the log may hold.
  await pauseOften(daemon, lasting.id, 2 * retained);
  await expectKept();
  // Without the room that the first exit makes.
  await exec.kill();
  expect(await exec.exit()).toBe(137);
  fill();
  await ending.kill();
  expect(await ending.exit()).toBe(137);
  await expectKept();
  expect((await daemon.api.state()).containers.map(({ id }) => id)).toEqual([lasting.id]);
  await lasting.kill();
  expect(await lasting.exit()).toBe(137);
  rmSync(filler);
  await daemon.expectNothingLeft();
});

describe("a log that can't be written at all", () => {
  /** No file of the daemon can become longer than the log is now: a real error, and the shims' files are shorter. */
  async function block(daemon: TestDaemon, id: string): Promise<void> {
    await pauseOften(daemon, id, 100);
    const { size } = statSync(join(daemon.stateDir, "events.log"));
    expect(size).toBeGreaterThan(16_384);
    execFileSync("prlimit", ["--pid", `${daemon.pid}`, `--fsize=${size}:unlimited`]);
  }

  const unblock = (daemon: TestDaemon) => execFileSync("prlimit", ["--pid", `${daemon.pid}`, "--fsize=unlimited"]);

  test.each(["kill", "mend"] as const)("what tells an exit stays until that is in the log: then %s", async (then) => {
    await using daemon = await startDaemon();
    using lasting = await startContainer(daemon, { name: "lasting", args: ["sleep", "1000"] });
    using ending = await startContainer(daemon, { name: "ending", args: ["sh", "-c", "read l; exit 7"], stdio: true });
    using exec = await startExec(daemon, ending, { pid: "e", args: ["sh", "-c", "sleep 1000"] });
    using short = await startExec(daemon, lasting, { pid: "short", args: ["sleep", "1000"] });
    await block(daemon, lasting.id);
    await exec.kill();
    expect(await exec.exit()).toBe(137);
    await short.kill();
    expect(await short.exit()).toBe(137);
    ending.stdio.stdin.end("now\n");
    expect(await ending.exit()).toBe(7);
    using late = await startContainer(daemon, { name: "late", args: ["sleep", "1000"] });
    expect((await daemon.api.state()).containers.map(({ id }) => id).sort()).toEqual([late.id, lasting.id].sort());
    const directories = [join(ending.id, "e"), ending.id, join(lasting.id, "short")].map((p) =>
      join(daemon.stateDir, p),
    );
    for (const directory of directories) expect(existsSync(directory)).toBe(true);
    await expect(startContainer(daemon, { name: "ending", args: ["true"] })).rejects.toThrow(/file exists/);
    await expect(startExec(daemon, lasting, { pid: "short", args: ["true"] })).rejects.toThrow(/file exists/);
    if (then === "mend") unblock(daemon);
    else {
      await daemon.kill();
      await daemon.start();
    }
    for (const directory of directories)
      await eventually(() => !existsSync(directory), { what: `the removal of ${directory}` });
    await daemon.restart({ kill: true });
    await late.kill();
    expect(await late.exit()).toBe(137);
    const stored = daemon.api.subscribe({ timestamp: { seconds: 0n, nanos: 0 }, storedOnly: true });
    await stored.ended;
    expect(told(stored, ending.id)).toEqual(["start-container", "start-process e", "exit e 137", "exit init 7"]);
    expect(told(stored, late.id)).toEqual(["start-container", "exit init 137"]);
    expect(told(stored, lasting.id).filter((line) => line.startsWith("exit"))).toEqual(["exit short 137"]);
    await lasting.kill();
    expect(await lasting.exit()).toBe(137);
    await daemon.expectNothingLeft();
  });
});

test("no inodes left: the same", async () => {
  // The daemon's own: directory, lock, log.
  mountDisk("nr_inodes=40,mode=755");
  await using daemon = await startDaemon({ stateDir });
  const names: string[] = [];
  const refused = await eventually(async () => {
    try {
      const { id } = await startContainer(daemon, { name: `c${names.length}`, args: ["sleep", "1000"] });
      names.push(id);
    } catch (error) {
      return error as { code: number; message: string };
    }
    throw new Error("there is room for one more");
  });
  expect(refused.message).toMatch(FULL);
  expect(refused.code).toBe(status.RESOURCE_EXHAUSTED);
  expect((await daemon.api.state()).containers.map(({ id }) => id).sort()).toEqual([...names].sort());
  expect(names.length).toBeGreaterThan(0);
  for (const id of names) {
    await daemon.api.signal({ id, pid: "init", signal: 9 });
    await daemon.events.waitFor({ type: "exit", id, pid: "init", status: 137 });
  }
  await daemon.expectNothingLeft();
});

test("no inodes left, and a kill during a start: nothing is told of what its shim has undone", async () => {
  mountDisk("nr_inodes=100,mode=755");
  await using daemon = await startDaemon({ stateDir });
  const wrapper = wrapRuntime(daemon.dir, "late", "create", { kind: "fail-late" });
  wrapper.on();
  const call = startContainer(daemon, { name: "c", args: ["sleep", "1000"], request: { runtime: wrapper.path } });
  const failed = expect(call).rejects.toThrow();
  const id = daemon.id("c");
  const init = join(stateDir, id, "init");
  await eventually(() => existsSync(join(init, "pid")));
  expect(() => {
    for (let n = 0; ; n++) writeFileSync(join(mount, `${n}`), "");
  }).toThrow(/no space left/i);
  await daemon.kill();
  await failed;
  wrapper.off();
  await eventually(() => processes().every((process) => process.directory !== init), { what: "the end of its shim" });
  await daemon.start();
  await eventually(() => !existsSync(join(stateDir, id)), { what: "the removal of its directory" });
  expect(daemon.events.all({ id })).toEqual([]);
  await daemon.expectNothingLeft();
});

test("a read-only state directory: the daemon says so and ends", () => {
  mountDisk("size=1m,mode=755");
  execFileSync("mount", ["-o", "remount,ro", mount]);
  const { status: code, stderr } = spawnSync(
    process.execPath,
    [daemonProgram, "--state-dir", stateDir, "--listen", `unix://${directoryPrefix()}read-only`],
    { encoding: "utf8", timeout: PATIENCE },
  );
  expect(code).toBe(1);
  expect(stderr).toContain("read-only file system");
  expect(stderr).toContain(stateDir);
});
