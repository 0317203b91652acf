/** Each exit is told, once, with its status: whatever else fails at that moment, and whatever the log says of earlier runs. */
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { connect } from "node:net";
import { basename, join } from "node:path";
import { describe, expect, test } from "vitest";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { cases, full } from "../harness/extent.js";
import { isRunning, kill, openDescriptors, processes } from "../harness/processes.js";
import { directoryPrefix } from "../harness/run-name.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { makeFifos } from "../harness/stdio.js";
import { stored, told } from "../harness/told.js";
import { eventually } from "../harness/wait.js";

const directory = (daemon: TestDaemon, id: string, process = "init") => join(daemon.stateDir, id, process);

const shimsOf = (daemon: TestDaemon, id: string, process = "init") =>
  processes().filter((info) => info.directory === directory(daemon, id, process) && info.command.includes(id));

const initPid = ({ response }: TestContainer) => response.container!.processes[0]!.systemPid;

/** Waits until a container's processes and their shims are gone while no daemon looks at them. */
async function endedAlone(daemon: TestDaemon, id: string, ...names: string[]): Promise<void> {
  await eventually(() => names.every((name) => shimsOf(daemon, id, name).length === 0), { what: `the end of ${id}` });
}

describe("an exit status that can't be read is 255", () => {
  const obstacles = [
    { what: "a directory", put: (path: string) => mkdirSync(path) },
    { what: "a FIFO", put: (path: string) => makeFifos(path) },
    { what: "a link to an endless device", put: (path: string) => symlinkSync("/dev/zero", path) },
    { what: "something else", put: (path: string) => writeFileSync(path, "-1\n") },
  ];

  test("a directory in its place, while the daemon runs: told with a warning, and the daemon goes on", async () => {
    await using daemon = await startDaemon();
    using other = await startContainer(daemon, { name: "other", args: ["sleep", "1000"] });
    using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
    using exec = await startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] });
    for (const name of ["init", "e"]) mkdirSync(join(directory(daemon, container.id, name), "exitStatus"));
    await exec.kill();
    expect(await exec.exit()).toBe(255);
    await container.kill();
    expect(await container.exit()).toBe(255);
    await expect
      .poll(() => daemon.log)
      .toMatch(
        /level=warning msg="containerd: the exit status can't be read".*is a directory|EISDIR|not a regular file/,
      );
    await other.kill();
    expect(await other.exit()).toBe(137);
    await daemon.expectNothingLeft();
  });

  test.each(cases(obstacles, 2))("$what in its place, found by the next daemon", async ({ put }) => {
    await using daemon = await startDaemon();
    using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
    using exec = await startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] });
    await daemon.kill();
    kill(initPid(container));
    await endedAlone(daemon, container.id, "init", "e");
    for (const name of ["init", "e"]) {
      const path = join(directory(daemon, container.id, name), "exitStatus");
      rmSync(path);
      put(path);
    }
    await daemon.start();
    expect(await exec.exit()).toBe(255);
    expect(await container.exit()).toBe(255);
    expect(told(await stored(daemon), container.id)).toEqual([
      "start-container",
      "start-process e",
      "exit e 255",
      "exit init 255",
    ]);
    await daemon.expectNothingLeft();
  });
});

test("what stands where the shim writes the status does not hold it up: the status is told", async () => {
  await using daemon = await startDaemon();
  const target = join(daemon.dir, "target");
  writeFileSync(target, "not ours");
  const places = { fifo: makeFifos, link: (path: string) => symlinkSync(target, path), directory: mkdirSync };
  for (const [name, put] of Object.entries(places)) {
    using container = await startContainer(daemon, { name, args: ["sleep", "1000"] });
    const path = join(directory(daemon, container.id), "exitStatus.reserved");
    rmSync(path);
    put(path);
    await container.kill();
    expect(await container.exit(), name).toBe(137);
  }
  expect(readFileSync(target, "utf8")).toBe("not ours");
  await daemon.expectNothingLeft();
});

test("no descriptor is left, idle connections have them all: exits have their status, and each directory goes", async () => {
  await using daemon = await startDaemon();
  using container = await startContainer(daemon, { name: "c", args: ["sh", "-c", "read line; exit 7"], stdio: true });
  using exec = await startExec(daemon, container, { pid: "e", args: ["sh", "-c", "read line; exit 4"], stdio: true });
  using killed = await startContainer(daemon, { name: "killed", args: ["sleep", "1000"] });
  const limit = openDescriptors(daemon.pid).size;
  execFileSync("prlimit", ["--pid", `${daemon.pid}`, `--nofile=${limit}:4096`]);
  const sockets = Array.from({ length: 60 }, () =>
    connect(daemon.listen.slice("unix://".length)).on("error", () => {}),
  );
  try {
    exec.stdio.stdin.end("now\n");
    expect(await exec.exit()).toBe(4);
    container.stdio.stdin.end("now\n");
    expect(await container.exit()).toBe(7);
    await killed.kill();
    expect(await killed.exit()).toBe(137);
    await eventually(() => !existsSync(join(daemon.stateDir, container.id)));
  } finally {
    for (const socket of sockets) socket.destroy();
  }
  execFileSync("prlimit", ["--pid", `${daemon.pid}`, "--nofile=4096:4096"]);
  expect(told(await stored(daemon), container.id).slice(2)).toEqual(["exit e 4", "exit init 7"]);
  await daemon.expectNothingLeft();
});

describe("an exit waits for no operation on its container", () => {
  test.skipIf(!full)(
    "an exec that hangs in the runtime, with a shim that does not hear that it is called off",
    async () => {
      await using daemon = await startDaemon();
      const wrapper = wrapRuntime(daemon.dir, "hanging", "exec", { kind: "hang" });
      wrapper.on();
      using container = await startContainer(daemon, {
        name: "c",
        args: ["sleep", "1000"],
        request: { runtime: wrapper.path },
      });
      let isOver = false;
      const exec = startExec(daemon, container, { pid: "e", args: ["true"] }).finally(() => {
        isOver = true;
      });
      exec.catch(() => {});
      const shim = await eventually(() => shimsOf(daemon, container.id, "e")[0]);
      await eventually(() => readFileSync(`${wrapper.path}.calls`, "utf8").includes(" exec "));
      kill(shim.pid, "SIGSTOP");
      await container.kill();
      expect(await container.exit()).toBe(137);
      expect(isOver).toBe(false);
      expect((await daemon.api.state()).containers).toEqual([]);
      // The id is free as soon as the exec has let go of the directory: a start of it waits for that.
      const bundlePath = daemon.bundle("again", { args: ["sh", "-c", "exit 9"] });
      await daemon.api.createContainer({ id: container.id, bundlePath });
      await daemon.events.waitFor({ type: "exit", id: container.id, pid: "init", status: 9 });
      await expect(exec).rejects.toThrow(/container not found/);
      await daemon.expectNothingLeft();
    },
  );

  test.skipIf(!full)("an exec whose client stands still, after a restart of the daemon", async () => {
    await using daemon = await startDaemon();
    using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
    const paths = { stdin: "", stdout: join(daemon.dir, "out"), stderr: "" };
    makeFifos(paths.stdout);
    // It has the FIFO open and reads nothing.
    const reader = execFileSync("sh", ["-c", `exec 3<>${paths.stdout}; sleep 1000 >/dev/null 2>&1 & echo $!`]);
    try {
      await daemon.api.addProcess({ id: container.id, pid: "e", args: ["yes"], cwd: "/", ...paths });
      await daemon.restart({ kill: true });
      await container.kill();
      expect(await container.exit(30_000)).toBe(137);
      expect(told(await stored(daemon), container.id)).toEqual([
        "start-container",
        "start-process e",
        "exit e 137",
        "exit init 137",
      ]);
      await daemon.expectNothingLeft();
    } finally {
      kill(Number(reader));
    }
  });
});

describe("an exit of an earlier run, with a later time, is not this one's", () => {
  const future = (id: string, more: object) =>
    `${JSON.stringify({ id, type: "exit", timestamp: "2099-01-01T00:00:00.5Z", pid: "init", status: 3, ...more })}\n`;

  test.each([
    { what: "as the original writes it", more: {} },
    { what: "as this daemon writes it", more: { run: "4711:123456" } },
  ])("$what, in the log from the beginning: the clock was set back", async ({ more }) => {
    await using daemon = await startDaemon();
    const id = daemon.id("c");
    await daemon.stop();
    writeFileSync(join(daemon.stateDir, "events.log"), future(id, more));
    await daemon.start();
    using container = await startContainer(daemon, { name: "c", args: ["sh", "-c", "read line; exit 6"], stdio: true });
    using exec = await startExec(daemon, container, { pid: "e", args: ["sh", "-c", "read line; exit 5"], stdio: true });
    await daemon.kill();
    exec.stdio.stdin.end("now\n");
    await endedAlone(daemon, id, exec.pid);
    container.stdio.stdin.end("now\n");
    await endedAlone(daemon, id, "init");
    await daemon.start();
    expect(await eventually(() => daemon.events.all({ type: "exit", id, pid: "init" })[1]?.status)).toBe(6);
    const events = await stored(daemon);
    expect(told(events, id)).toEqual(["exit init 3", "start-container", "start-process e", "exit e 5", "exit init 6"]);
    expect(events.map(({ timestamp }) => timestamp!.seconds).every((seconds) => seconds >= 4070908800n)).toBe(true);
    await daemon.expectNothingLeft();
  });

  test("in a log that was damaged while the container ran", async () => {
    await using daemon = await startDaemon();
    using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
    await daemon.kill();
    const log = join(daemon.stateDir, "events.log");
    writeFileSync(log, future(container.id, {}) + readFileSync(log, "utf8"));
    kill(initPid(container));
    await endedAlone(daemon, container.id, "init");
    await daemon.start();
    await eventually(() => daemon.events.all({ type: "exit", id: container.id, status: 137 })[0]);
    // Of the daemon that comes next nothing is told twice, although the times of the log are in no order.
    await daemon.restart({ kill: true });
    expect(told(await stored(daemon), container.id)).toEqual(["exit init 3", "start-container", "exit init 137"]);
    await daemon.expectNothingLeft();
  });
});

test("what was told is not told again by the next daemon, however few events are kept", async () => {
  await using daemon = await startDaemon({ flags: ["--retain-count", "3"] });
  using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
  using exec = await startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] });
  await daemon.kill();
  kill(initPid(container));
  await endedAlone(daemon, container.id, "init", exec.pid);
  // As a daemon leaves it that is killed right after it has written the exec's exit down.
  const [pid, start] = ["pid", "starttime"].map((name) =>
    readFileSync(join(directory(daemon, container.id, "e"), name), "utf8"),
  );
  const line = { id: container.id, type: "exit", timestamp: new Date().toISOString(), pid: "e", status: 137 };
  appendFileSync(join(daemon.stateDir, "events.log"), `${JSON.stringify({ ...line, run: `${pid}:${start}` })}\n`);
  await daemon.start();
  expect(await container.exit()).toBe(137);
  expect(told(await stored(daemon), container.id)).toEqual(["start-process e", "exit e 137", "exit init 137"]);
  await daemon.expectNothingLeft();
});

test("events.log has at most twice as many lines as events are kept", async () => {
  await using daemon = await startDaemon({ flags: ["--retain-count", "10"] });
  using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
  const lines = () => readFileSync(join(daemon.stateDir, "events.log"), "utf8").trim().split("\n").length;
  const seen: number[] = [];
  for (let n = 0; n < 22; n++) {
    using exec = await startExec(daemon, container, { pid: `e${n}`, args: ["true"] });
    await exec.exit();
    seen.push(lines());
  }
  expect(Math.max(...seen)).toBe(20);
  expect(Math.min(...seen.slice(10))).toBeGreaterThanOrEqual(10);
  expect((await stored(daemon)).length).toBe(10);
  await daemon.restart();
  expect(lines()).toBeLessThanOrEqual(20);
  await container.kill();
  expect(await container.exit()).toBe(137);
});

describe("a directory that can't be removed", () => {
  /** Seen by this daemon and by the next: both exits, once, with their status. */
  const once = ["start-container", "start-process e", "exit e 137", "exit init 137"];

  test("a mount in it: the exit is told, the directory goes as soon as it can, and its names are free", async () => {
    await using daemon = await startDaemon();
    using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
    using exec = await startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] });
    const path = directory(daemon, container.id, "e");
    execFileSync("mount", ["--bind", path, path]);
    try {
      execFileSync("mount", ["-o", "remount,ro,bind", path]);
      await exec.kill();
      expect(await exec.exit()).toBe(137);
      await expect(startExec(daemon, container, { pid: "e", args: ["true"] })).rejects.toThrow(/file exists/);
    } finally {
      execFileSync("umount", ["--lazy", path]);
    }
    // At once, without a wait for the next try.
    using again = await startExec(daemon, container, { pid: "e", args: ["sh", "-c", "exit 4"] });
    expect(await eventually(() => daemon.events.all({ type: "exit", pid: "e" })[1]?.status)).toBe(4);
    expect(again.pid).toBe("e");
    await container.kill();
    expect(await container.exit()).toBe(137);
    await daemon.expectNothingLeft();
  });

  test("of an exec that may not be changed (chattr +i), over a restart", async () => {
    using disk = new Ext4();
    await using daemon = await startDaemon({ stateDir: disk.stateDir });
    using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
    using exec = await startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] });
    using lasting = await startContainer(daemon, { name: "lasting", args: ["sleep", "1000"] });
    const path = directory(daemon, container.id, "e");
    execFileSync("chattr", ["+i", path]);
    try {
      await exec.kill();
      expect(await exec.exit()).toBe(137);
      await daemon.restart({ kill: true });
      await container.kill();
      expect(await container.exit()).toBe(137);
      expect((await daemon.api.state()).containers.map(({ id }) => id)).toEqual([lasting.id]);
      await daemon.restart({ kill: true });
      expect((await daemon.api.state()).containers.map(({ id }) => id)).toEqual([lasting.id]);
      expect(told(await stored(daemon), container.id)).toEqual(once);
    } finally {
      // The container's has lost its name by then.
      for (const name of readdirSync(disk.stateDir)) {
        const moved = join(disk.stateDir, name, "e");
        if (existsSync(moved)) execFileSync("chattr", ["-i", moved]);
      }
    }
    await lasting.kill();
    expect(await lasting.exit()).toBe(137);
  });

  test("of an exec whose exit was told, and whose identity and the log are lost: it is not told again", async () => {
    await using daemon = await startDaemon();
    using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
    using exec = await startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] });
    await daemon.kill();
    const path = directory(daemon, container.id, "e");
    // What a daemon leaves that has told it and could not remove all of the directory.
    linkSync(join(path, "starttime"), join(path, "reported"));
    kill(exec.systemPid);
    await endedAlone(daemon, container.id, "e");
    for (const name of ["pid", "starttime"]) rmSync(join(path, name));
    rmSync(join(daemon.stateDir, "events.log"));
    await daemon.start();
    await container.kill();
    expect(await container.exit()).toBe(137);
    expect(told(await stored(daemon), container.id)).toEqual(["exit init 137"]);
    await daemon.expectNothingLeft();
  });

  test("on a disk that has an error and takes nothing any more", async () => {
    using disk = new Ext4();
    await using daemon = await startDaemon({ stateDir: disk.stateDir });
    using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
    using exec = await startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] });
    disk.fail();
    await exec.kill();
    expect(await exec.exit()).toBe(137);
    await container.kill();
    expect(await container.exit()).toBe(137);
    expect(told(await stored(daemon), container.id)).toEqual(once);
    expect((await daemon.api.state()).containers).toEqual([]);
    expect(isRunning(exec.systemPid)).toBe(false);
    await daemon.kill();
    // Before the daemon's own end, which would remove the state directory.
    disk[Symbol.dispose]();
  });
});

/** A file system in a file, which can be made to fail as a disk does. */
class Ext4 implements Disposable {
  readonly stateDir: string;
  readonly #mount: string;

  constructor() {
    const image = mkdtempSync(`${directoryPrefix()}ext4-`);
    this.#mount = join(image, "m");
    mkdirSync(this.#mount);
    execFileSync("truncate", ["-s", "8M", join(image, "img")]);
    execFileSync("mkfs.ext4", ["-q", join(image, "img")]);
    execFileSync("mount", ["-o", "loop,errors=remount-ro", join(image, "img"), this.#mount]);
    this.stateDir = join(this.#mount, "state");
    mkdirSync(this.stateDir);
  }

  /** From now on it is read-only. */
  fail(): void {
    const device = execFileSync("findmnt", ["-n", "-o", "SOURCE", this.#mount], { encoding: "utf8" }).trim();
    writeFileSync(`/sys/fs/ext4/${basename(device)}/trigger_fs_error`, "1");
    expect(() => writeFileSync(join(this.#mount, "probe"), "")).toThrow(/EROFS/);
  }

  [Symbol.dispose](): void {
    if (!existsSync(this.#mount)) return;
    execFileSync("umount", ["--lazy", this.#mount]);
    rmSync(join(this.#mount, ".."), { recursive: true });
  }
}
