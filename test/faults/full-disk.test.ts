/** A state directory that is full, or that nobody may write to: clear errors, and nothing that runs is lost. */
import { execFileSync, spawnSync } from "node:child_process";
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type EventStream, status, type wire } from "../harness/api.js";
import { startContainer } from "../harness/container.js";
import { startDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { daemonProgram } from "../harness/paths.js";
import { directoryPrefix } from "../harness/run-name.js";
import { eventually } from "../harness/wait.js";

const full = /no space left on device/;

let mount: string;
let stateDir: string;
let filler: string;
beforeEach(() => {
  mount = mkdtempSync(`${directoryPrefix()}disk-`);
  stateDir = join(mount, "state");
  filler = join(mount, "filler");
});
afterEach(() => {
  execFileSync("umount", ["--lazy", mount]);
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
    await expect(startContainer(daemon, { name: `refused-${n}`, args: ["true"] })).rejects.toThrow(full);
    await expect(startExec(daemon, lasting, { pid: `refused-${n}`, args: ["true"] })).rejects.toThrow(full);
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
  expect(refused.message).toMatch(full);
  expect(refused.code).toBe(status.RESOURCE_EXHAUSTED);
  expect((await daemon.api.state()).containers.map(({ id }) => id).sort()).toEqual([...names].sort());
  expect(names.length).toBeGreaterThan(0);
  for (const id of names) {
    await daemon.api.signal({ id, pid: "init", signal: 9 });
    await daemon.events.waitFor({ type: "exit", id, pid: "init", status: 137 });
  }
  await daemon.expectNothingLeft();
});

test("a read-only state directory: the daemon says so and ends", () => {
  mountDisk("size=1m,mode=755");
  execFileSync("mount", ["-o", "remount,ro", mount]);
  const { status: code, stderr } = spawnSync(
    process.execPath,
    [daemonProgram, "--state-dir", stateDir, "--listen", `unix://${directoryPrefix()}read-only`],
    { encoding: "utf8", timeout: 20_000 },
  );
  expect(code).toBe(1);
  expect(stderr).toContain("read-only file system");
  expect(stderr).toContain(stateDir);
});
