/** A daemon that comes back: everything is as it was, what ended meanwhile is told, and broken remains cost nobody a running container. */
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { wire } from "../harness/api.js";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { cases, times } from "../harness/extent.js";
import { isRunning, kill, processes } from "../harness/processes.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { collect, makeFifos, openReader } from "../harness/stdio.js";
import { stored, told } from "../harness/told.js";
import { eventually } from "../harness/wait.js";

let daemon: TestDaemon;
beforeEach(async () => {
  daemon = await startDaemon();
});
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
});

async function only(id: string): Promise<wire.Container> {
  const { containers } = await daemon.api.state();
  expect(containers.map((container) => container.id)).toEqual([id]);
  return containers[0]!;
}

/** Waits for the end of a container's init while no daemon is there to do it. */
const ended = (pid: number) => eventually(() => !isRunning(pid), { what: `the end of ${pid}` });

const initPid = (response: wire.CreateContainerResponse) => response.container!.processes[0]!.systemPid;

const directory = (id: string, process = "init") => join(daemon.stateDir, id, process);

/** What the runtime was called with until now. */
const calls = (runtime: string) =>
  existsSync(`${runtime}.calls`) ? readFileSync(`${runtime}.calls`, "utf8").split("\n") : [];

/** The same id can have a container again, and it ends as it should. */
async function expectUsable(name: string): Promise<void> {
  const id = daemon.id(name);
  const exits = (events: wire.Event[]) =>
    events.filter((event) => event.id === id && told([event], id)[0]!.startsWith("exit init"));
  const before = exits(await stored(daemon)).length;
  await daemon.api.createContainer({
    id,
    bundlePath: daemon.bundle(`${name}-again`, { args: ["sh", "-c", "exit 9"] }),
  });
  const last = await eventually(() => exits(daemon.events.events)[before], { what: `the exit of ${id}` });
  expect(last.status).toBe(9);
  await daemon.expectNothingLeft();
}

describe.each([
  { how: "SIGTERM", kill: false },
  { how: "SIGKILL", kill: true },
])("after $how", ({ kill }) => {
  test("containers, execs, labels and processes are as before", async () => {
    using container = await startContainer(daemon, {
      name: "all",
      args: ["sleep", "1000"],
      env: ["COLOR=blue"],
      request: { labels: ["a=b", "plain"], noPivotRoot: true },
    });
    using exec = await startExec(daemon, container, { pid: "shell", args: ["sleep", "1001"] });
    const before = await only(container.id);
    await daemon.restart({ kill });
    const after = await only(container.id);
    expect(after).toEqual({ ...before, pids: expect.anything() });
    expect([...after.pids].sort()).toEqual([...before.pids].sort());
    expect(after.processes.map(({ pid }) => pid).sort()).toEqual(["init", "shell"]);
    expect(isRunning(exec.systemPid)).toBe(true);
    await container.kill();
    expect(await container.exit()).toBe(137);
    expect(told(daemon.events.events, container.id)).toEqual([
      "start-container",
      "start-process shell",
      "exit shell 137",
      "exit init 137",
    ]);
    await daemon.expectNothingLeft();
  });

  test("stdio goes on: what is written while no daemon is there arrives, stdin works and can be closed", async () => {
    using container = await startContainer(daemon, {
      name: "stdio",
      args: ["sh", "-c", "while read line; do echo got $line; done; echo end; exit 5"],
      stdio: true,
    });
    container.stdio.stdin.write("one\n");
    await container.printed("got one\n");
    await (kill ? daemon.kill() : daemon.stop());
    container.stdio.stdin.write("two\n");
    await container.printed("got two\n");
    await daemon.start();
    container.stdio.stdin.write("three\n");
    await container.printed("got three\n");
    await daemon.api.updateProcess({ id: container.id, pid: "init", closeStdin: true });
    container.stdio.stdin.end();
    expect((await container.output()).stdout.toString()).toBe("got one\ngot two\ngot three\nend\n");
    expect(await container.exit()).toBe(5);
  });

  test("exits while down are told, execs before init, with their status", async () => {
    using container = await startContainer(daemon, {
      name: "down",
      args: ["sh", "-c", "trap 'exit 33' TERM; while :; do sleep 0.05; done"],
    });
    using first = await startExec(daemon, container, { pid: "first", args: ["sleep", "1000"] });
    using second = await startExec(daemon, container, { pid: "second", args: ["sh", "-c", "sleep 0.3; exit 44"] });
    using short = await startContainer(daemon, { name: "short", args: ["sh", "-c", "sleep 0.4; exit 7"] });
    await (kill ? daemon.kill() : daemon.stop());
    await ended(second.systemPid);
    process.kill(initPid(container.response), "SIGTERM");
    await ended(first.systemPid);
    await ended(initPid(short.response));
    await daemon.start();
    expect(await container.exit()).toBe(33);
    expect(await short.exit()).toBe(7);
    const events = told(daemon.events.events, container.id);
    expect(events.slice(0, 3)).toEqual(["start-container", "start-process first", "start-process second"]);
    expect(events.slice(3, 5).sort()).toEqual(["exit first 137", "exit second 44"]);
    expect(events.slice(5)).toEqual(["exit init 33"]);
    expect((await daemon.api.state()).containers).toEqual([]);
    await daemon.expectNothingLeft();
  });
});

test("a terminal goes on: its size can be set, its output arrives", async () => {
  const path = join(daemon.dir, "tty.out");
  makeFifos(path, join(daemon.dir, "tty.in"));
  const reader = openReader(path);
  const output = collect(reader);
  const bundle = daemon.bundle("tty", {
    args: ["sh", "-c", "trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.05; done"],
    terminal: true,
  });
  const id = daemon.id("tty");
  await daemon.api.createContainer({ id, bundlePath: bundle, stdin: join(daemon.dir, "tty.in"), stdout: path });
  await eventually(() => output.soFar().includes("ready"));
  await daemon.restart({ kill: true });
  await daemon.api.updateProcess({ id, pid: "init", width: 132, height: 43 });
  expect((await daemon.events.waitFor({ type: "exit", id })).status).toBe(3);
  expect((await output.whole).toString()).toContain("43 132");
});

test("an OOM kill after the restart is reported", async () => {
  using container = await startContainer(daemon, {
    name: "oom",
    args: ["sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.05; done; tail /dev/zero; sleep 1000"],
    memoryLimit: 16 << 20,
  });
  await daemon.restart({ kill: true });
  expect(daemon.events.all({ type: "oom" })).toEqual([]);
  using _go = await startExec(daemon, container, { pid: "go", args: ["touch", "/tmp/go"] });
  await daemon.events.waitFor({ type: "oom", id: container.id });
  await container.kill();
  await container.exit();
});

test("a paused container is still paused, and can be resumed", async () => {
  using container = await startContainer(daemon, { name: "paused", args: ["sleep", "1000"] });
  await daemon.api.updateContainer({ id: container.id, status: "paused" });
  await daemon.restart({ kill: true });
  expect((await only(container.id)).status).toBe("paused");
  await daemon.api.updateContainer({ id: container.id, status: "running" });
  expect((await only(container.id)).status).toBe("running");
  await container.kill();
  expect(await container.exit()).toBe(137);
});

test("a container keeps the runtime and the arguments that it was started with", async () => {
  const { path } = wrapRuntime(daemon.dir, "own-runtime", "state", { kind: "fail" });
  const root = join(daemon.dir, "own-root");
  using container = await startContainer(daemon, {
    name: "runtime",
    args: ["sleep", "1000"],
    request: { runtime: path, runtimeArgs: ["--root", root] },
  });
  await daemon.restart({ kill: true });
  expect((await only(container.id)).runtime).toBe(path);
  using exec = await startExec(daemon, container, { pid: "e", args: ["true"] });
  expect(await exec.exit()).toBe(0);
  await container.kill();
  await container.exit();
  expect(existsSync(join(root, container.id))).toBe(false);
});

test("a bundle that was removed while the container runs does not matter", async () => {
  using container = await startContainer(daemon, { name: "bundle", args: ["sleep", "1000"] });
  rmSync(container.bundle, { recursive: true });
  await daemon.restart({ kill: true });
  expect((await only(container.id)).status).toBe("running");
  await container.kill();
  expect(await container.exit()).toBe(137);
  await daemon.expectNothingLeft();
});

describe("events", () => {
  const key = ({ timestamp }: wire.Event) => timestamp!.seconds * 1_000_000_000n + BigInt(timestamp!.nanos);

  test("can be resumed by timestamp over any number of restarts: each once, in order", async () => {
    const seen: wire.Event[] = [];
    for (let round = 0; round < 6; round++) {
      const stream = daemon.api.subscribe({ timestamp: seen.at(-1)?.timestamp ?? { seconds: 0n, nanos: 0 } });
      const id = daemon.id(`r${round}`);
      const bundle = daemon.bundle(`r${round}`, { args: ["sh", "-c", `sleep 0.2; exit ${round}`] });
      await daemon.api.createContainer({ id, bundlePath: bundle });
      // In some rounds nobody sees the start before the restart, in some nobody the exit.
      if (round % 2 === 0) await stream.waitFor({ type: "start-container", id });
      if (round % 3 === 0) await stream.waitFor({ type: "exit", id });
      await daemon.kill();
      seen.push(...stream.events);
      await daemon.start();
    }
    const last = daemon.api.subscribe({ timestamp: seen.at(-1)!.timestamp! });
    await last.waitFor({ type: "exit", id: daemon.id("r5") });
    seen.push(...last.events);
    const expected = Array.from({ length: 6 }, (_, round) => [`start-container`, `exit init ${round}`]);
    expect(expected.map((_, round) => told(seen, daemon.id(`r${round}`)))).toEqual(expected);
    expect(seen.map(key)).toEqual([...seen.map(key)].sort((a, b) => (a < b ? -1 : 1)));
    expect(new Set(seen.map(key)).size).toBe(seen.length);
    // All of it is still there for somebody who comes only now.
    const all = daemon.api.subscribe({ timestamp: { seconds: 0n, nanos: 0 }, storedOnly: true });
    await all.ended;
    expect(all.events).toEqual(seen);
  });

  test.each(
    cases(
      [
        { what: "without its end", tear: (path: string) => truncateSync(path, readFileSync(path).length - 9) },
        { what: "without a newline", tear: (path: string) => truncateSync(path, readFileSync(path).length - 1) },
        { what: "followed by zeros", tear: (path: string) => appendFileSync(path, "\0\0\0\0\0") },
        {
          what: "that is half a character",
          tear: (path: string) => appendFileSync(path, Buffer.from([0x7b, 0xe2, 0x82])),
        },
        { what: "that is no event", tear: (path: string) => appendFileSync(path, '[]\nnull\n"x"\n{}\n') },
      ],
      2,
    ),
  )("a last line $what costs at most itself", async ({ tear }) => {
    using container = await startContainer(daemon, { name: "torn", args: ["sleep", "1000"] });
    for (let n = 0; n < 3; n++) {
      using exec = await startExec(daemon, container, { pid: `e${n}`, args: ["true"] });
      await exec.exit();
    }
    const before = daemon.events.events;
    await daemon.kill();
    tear(join(daemon.stateDir, "events.log"));
    await daemon.start();
    expect((await only(container.id)).status).toBe("running");
    await container.kill();
    await container.exit();
    const after = daemon.events.events;
    const last = after.at(-1);
    expect(after.slice(0, before.length - 1)).toEqual(before.slice(0, -1));
    expect(last).toMatchObject({ type: "exit", id: container.id, pid: "init", status: 137 });
    // What is written from now on can be read again.
    await daemon.restart({ kill: true });
    await daemon.events.waitFor({ type: "exit", id: container.id, pid: "init" });
    expect(daemon.events.events).toEqual(after);
  });

  test("an unreadable events.log does not keep containers from being supervised", async () => {
    using container = await startContainer(daemon, { name: "garbage", args: ["sleep", "1000"] });
    await daemon.kill();
    writeFileSync(
      join(daemon.stateDir, "events.log"),
      Buffer.from(Array.from({ length: 5000 }, (_, n) => (n * 7) % 256)),
    );
    await daemon.start();
    await container.kill();
    expect(await container.exit()).toBe(137);
  });
});

describe("files that a kill or a full disk has left half-written", () => {
  const damages = [
    { what: "empty", damage: (path: string) => truncateSync(path) },
    { what: "half", damage: (path: string) => truncateSync(path, Math.floor(readFileSync(path).length / 2)) },
    { what: "garbage", damage: (path: string) => writeFileSync(path, "\0\0{]") },
    { what: "another JSON", damage: (path: string) => writeFileSync(path, "[1]") },
    { what: "missing", damage: (path: string) => rmSync(path) },
  ];

  describe.each(cases(damages, 3))("state.json $what", ({ what, damage }) => {
    test("under a running container: it is not dropped", async () => {
      using container = await startContainer(daemon, { name: "state", args: ["sleep", "1000"] });
      const pid = initPid(container.response);
      await daemon.kill();
      damage(join(daemon.stateDir, container.id, "state.json"));
      await daemon.start();
      expect(await only(container.id)).toMatchObject({ status: "running", bundlePath: container.bundle });
      expect(isRunning(pid)).toBe(true);
      await expect.poll(() => daemon.log).toContain("state.json");
      using exec = await startExec(daemon, container, { pid: "e", args: ["true"] });
      expect(await exec.exit()).toBe(0);
      await container.kill();
      expect(await container.exit()).toBe(137);
      await expectUsable("state");
    });

    // Where nothing is left it is anybody's: see below.
    test.skipIf(what === "missing")("of a container that was only begun: removed, and the id is free", async () => {
      await daemon.kill();
      const id = daemon.id("begun");
      mkdirSync(join(daemon.stateDir, id));
      writeFileSync(join(daemon.stateDir, id, "state.json"), JSON.stringify({ bundle: "/b", runtime: "runc" }));
      damage(join(daemon.stateDir, id, "state.json"));
      await daemon.start();
      expect((await daemon.api.state()).containers).toEqual([]);
      await eventually(() => !existsSync(join(daemon.stateDir, id)));
      await expect.poll(() => daemon.log).toContain(id);
      await expectUsable("begun");
    });
  });

  test.each(cases(damages, 2))(
    "process.json $what under a running container: it is not dropped",
    async ({ damage }) => {
      using container = await startContainer(daemon, { name: "process", args: ["sleep", "1000"] });
      using exec = await startExec(daemon, container, { pid: "long", args: ["sleep", "1001"] });
      await daemon.kill();
      damage(join(directory(container.id), "process.json"));
      damage(join(directory(container.id, "long"), "process.json"));
      await daemon.start();
      const { processes: shown } = await only(container.id);
      expect(shown.map(({ pid, systemPid }) => [pid, systemPid]).sort()).toEqual([
        ["init", initPid(container.response)],
        ["long", exec.systemPid],
      ]);
      await exec.kill();
      expect(await exec.exit()).toBe(137);
      using another = await startExec(daemon, container, {
        pid: "another",
        args: ["true"],
        request: { cwd: "/", env: ["PATH=/bin"] },
      });
      expect(await another.exit()).toBe(0);
      await container.kill();
      expect(await container.exit()).toBe(137);
      await expectUsable("process");
    },
  );

  test("exitStatus empty: the status is unknown, and told", async () => {
    using container = await startContainer(daemon, { name: "status", args: ["sh", "-c", "sleep 0.3; exit 4"] });
    await daemon.kill();
    await ended(initPid(container.response));
    await eventually(() => processes().every((process) => process.directory !== directory(container.id)));
    writeFileSync(join(directory(container.id), "exitStatus"), "");
    await daemon.start();
    expect(await container.exit()).toBe(255);
    await expectUsable("status");
  });

  test("starttime missing: the process is still known as the one that was started", async () => {
    using container = await startContainer(daemon, { name: "starttime", args: ["sleep", "1000"] });
    await daemon.kill();
    rmSync(join(directory(container.id), "starttime"));
    await daemon.start();
    await container.kill();
    expect(await container.exit()).toBe(137);
  });

  test("a control or exit FIFO that is gone does not cost the container", async () => {
    using container = await startContainer(daemon, { name: "fifos", args: ["sleep", "1000"] });
    await daemon.kill();
    rmSync(join(directory(container.id), "control"));
    await daemon.start();
    expect((await only(container.id)).status).toBe("running");
    await container.kill();
    expect(await container.exit()).toBe(137);
    await daemon.expectNothingLeft();
  });
});

describe("what a kill leaves in the middle of creation or clean-up", () => {
  // In the order in which they are made.
  const files = ["process.json", "exit", "control"];

  test.each(cases([4, 0, 1, 2, 3]))(
    "a directory with the first %i things of a start is removed, and the id is free",
    async (count) => {
      using model = await startContainer(daemon, { name: "model", args: ["sleep", "1000"] });
      const id = daemon.id("part");
      const target = join(daemon.stateDir, id);
      await daemon.kill();
      mkdirSync(target);
      if (count > 0) copyFileSync(join(daemon.stateDir, model.id, "state.json"), join(target, "state.json"));
      if (count > 1) mkdirSync(join(target, "init"));
      for (const name of files.slice(0, Math.max(0, count - 1))) {
        if (name === "process.json") copyFileSync(join(directory(model.id), name), join(target, "init", name));
        else makeFifos(join(target, "init", name));
      }
      writeFileSync(join(target, "state.json.tmp"), "{");
      await daemon.start();
      await only(model.id);
      await eventually(() => !existsSync(target), { what: "the removal of the directory" });
      await expect.poll(() => daemon.log).toContain(id);
      await model.kill();
      await model.exit();
      await expectUsable("part");
    },
  );

  test.each(cases(["init/pid", "state.json", "init/exit", "init/control", "init/process.json", "init/exitStatus"]))(
    "a directory whose removal by an earlier release had got as far as %s is removed, and its exit is not told twice",
    async (gone) => {
      using container = await startContainer(daemon, {
        name: "cleaned",
        args: ["sh", "-c", "sleep 0.2; exit 6"],
      });
      await daemon.kill();
      await ended(initPid(container.response));
      await eventually(() => processes().every((process) => process.directory !== directory(container.id)));
      // As the daemon would have stored it just before it removed the directory.
      const line = { type: "exit", id: container.id, pid: "init", status: 6, timestamp: new Date().toISOString() };
      appendFileSync(join(daemon.stateDir, "events.log"), `${JSON.stringify(line)}\n`);
      const order = ["state.json", "init/exit", "init/control", "init/pid", "init/process.json", "init/exitStatus"];
      for (const name of order.slice(0, order.indexOf(gone) + 1))
        rmSync(join(daemon.stateDir, container.id, name), { recursive: true, force: true });
      await daemon.start();
      await eventually(() => !existsSync(join(daemon.stateDir, container.id)), {
        what: "the removal of the directory",
      });
      expect((await daemon.api.state()).containers).toEqual([]);
      expect(told(await stored(daemon), container.id)).toEqual(["start-container", "exit init 6"]);
      await expectUsable("cleaned");
    },
  );

  test.each(cases([2, 0, 1, 3]))(
    "a directory without its name is removed, with all but %i of what was in it",
    async (rest) => {
      using container = await startContainer(daemon, { name: "gone", args: ["sh", "-c", "sleep 0.2; exit 6"] });
      await daemon.kill();
      await ended(initPid(container.response));
      await eventually(() => processes().every((process) => process.directory !== directory(container.id)));
      // As the daemon would have stored it just before it took the name away.
      const line = { type: "exit", id: container.id, pid: "init", status: 6, timestamp: new Date().toISOString() };
      appendFileSync(join(daemon.stateDir, "events.log"), `${JSON.stringify(line)}\n`);
      const partial = join(daemon.stateDir, ".partial-0123456789ab-0");
      renameSync(join(daemon.stateDir, container.id), partial);
      if (rest < 3) rmSync(join(partial, "state.json"));
      if (rest < 2) for (const name of readdirSync(join(partial, "init"))) rmSync(join(partial, "init", name));
      if (rest < 1) rmdirSync(join(partial, "init"));
      await daemon.start();
      expect(existsSync(partial)).toBe(false);
      expect((await daemon.api.state()).containers).toEqual([]);
      expect(told(await stored(daemon), container.id)).toEqual(["start-container", "exit init 6"]);
      await expectUsable("gone");
    },
  );

  test("plain files in the state directory are left alone", async () => {
    await daemon.kill();
    writeFileSync(join(daemon.stateDir, "notes.txt"), "mine");
    await daemon.start();
    expect(readFileSync(join(daemon.stateDir, "notes.txt"), "utf8")).toBe("mine");
    rmSync(join(daemon.stateDir, "notes.txt"));
  });
});

describe("a daemon killed during a start", () => {
  test.each([
    { what: "while the runtime creates", at: "create" as const },
    { what: "while the runtime starts", at: "start" as const },
  ])("$what: there is the container or nothing, and the id is usable", async ({ at }) => {
    const { path, on, off, idle } = wrapRuntime(daemon.dir, "slow", at, { kind: "sleep", seconds: 0.7 });
    on();
    const id = daemon.id("begun");
    const bundle = daemon.bundle("begun", { args: ["sleep", "1000"] });
    const call = daemon.api.createContainer({ id, bundlePath: bundle, runtime: path });
    call.catch(() => {});
    await eventually(() => calls(path).some((line) => line.split(" ").includes(at)));
    await daemon.kill();
    off();
    await daemon.start();
    const settled = async () => {
      const there = (await daemon.api.state()).containers.length;
      const directories = readdirSync(daemon.stateDir).filter((name) => name === id).length;
      return there === directories && { there };
    };
    // What the killed daemon had called goes on by itself.
    await idle();
    const { there } = await eventually(settled);
    expect(told(await stored(daemon), id)).toEqual(there === 1 ? ["start-container"] : []);
    if (there === 1) {
      await daemon.api.signal({ id, pid: "init", signal: 9 });
      await daemon.events.waitFor({ type: "exit", id });
    }
    await daemon.expectNothingLeft();
    await expectUsable("begun");
  });

  test("while its shim makes an exec: there is the exec with its events or nothing", async () => {
    const { path, on, off } = wrapRuntime(daemon.dir, "slow", "exec", { kind: "sleep", seconds: 0.7 });
    using container = await startContainer(daemon, {
      name: "exec",
      args: ["sleep", "1000"],
      request: { runtime: path },
    });
    on();
    const call = daemon.api.addProcess({
      id: container.id,
      pid: "e",
      args: ["sh", "-c", "exit 12"],
      cwd: "/",
      env: ["PATH=/bin"],
    });
    call.catch(() => {});
    await eventually(() => calls(path).some((line) => line.split(" ").includes("exec")));
    await daemon.kill();
    off();
    await daemon.start();
    await eventually(() => !existsSync(directory(container.id, "e")), { what: "the end of the exec" });
    const events = told(await stored(daemon), container.id);
    expect([
      ["start-container"],
      ["start-container", "start-process e", "exit e 12"],
      ["start-container", "start-process e", "exit e 137"],
    ]).toContainEqual(events);
    using again = await startExec(daemon, container, {
      pid: "e",
      args: ["true"],
      request: { cwd: "/", env: ["PATH=/bin"] },
    });
    await eventually(() => daemon.events.all({ type: "exit", pid: "e" }).at(-1)?.status === 0);
    expect(again.systemPid).toBeGreaterThan(0);
    await container.kill();
    await container.exit();
    await daemon.expectNothingLeft();
  });
});

describe("an exec that its runtime has made and then fails, and a kill of the daemon before", () => {
  /** The daemon is dead, the exec runs, its shim waits for the runtime. */
  async function killedMeanwhile(name: string) {
    const wrapper = wrapRuntime(daemon.dir, name, "exec", { kind: "fail-late" });
    const container = await startContainer(daemon, {
      name,
      args: ["sleep", "1000"],
      request: { runtime: wrapper.path },
    });
    wrapper.on();
    const call = daemon.api.addProcess({ id: container.id, pid: "e", args: ["sleep", "1000"], env: ["PATH=/bin"] });
    const failed = expect(call).rejects.toThrow();
    const path = directory(container.id, "e");
    const pid = await eventually(() => Number(readFileSync(join(path, "pid"), "utf8")) || undefined);
    await daemon.kill();
    await failed;
    return { container, wrapper, path, pid };
  }

  test("the next daemon has taken it over: its exit says that it was killed", async () => {
    const { container, wrapper, path } = await killedMeanwhile("adopted");
    await daemon.start();
    await daemon.events.waitFor({ type: "start-process", id: container.id, pid: "e" });
    wrapper.off();
    expect((await daemon.events.waitFor({ type: "exit", id: container.id, pid: "e" })).status).toBe(137);
    await eventually(() => !existsSync(path), { what: "the removal of its directory" });
    await container.kill();
    await container.exit();
    await daemon.expectNothingLeft();
  });

  test("nothing is left of it when the next daemon comes: nothing is told", async () => {
    const { container, wrapper, path, pid } = await killedMeanwhile("undone");
    const shim = processes().find((info) => info.directory === path && info.command.includes("containerd-shim"))!;
    for (const { pid: runtime, parent } of processes()) if (parent === shim.pid) kill(runtime);
    kill(pid);
    kill(shim.pid);
    await Promise.all([ended(pid), ended(shim.pid)]);
    wrapper.off();
    // What a shim leaves that was killed before it could say how its process ended.
    rmSync(join(path, "exitStatus"), { force: true });
    await daemon.start();
    await eventually(() => !existsSync(path), { what: "the removal of its directory" });
    await container.kill();
    await container.exit();
    expect(told(await stored(daemon), container.id)).toEqual(["start-container", "exit init 137"]);
    await daemon.expectNothingLeft();
  });
});

describe("a runtime that hangs when the daemon starts", () => {
  test("holds up only calls about its container: all others, and lists with what is known, are answered while it hangs", async () => {
    const { path, on, off } = wrapRuntime(daemon.dir, "hanging", "state", { kind: "hang" });
    await using other = await startDaemon({ flags: ["--runtime", path] });
    using plain = await startContainer(other, { name: "plain", args: ["sleep", "1000"] });
    using unannounced = await startContainer(other, { name: "unannounced", args: ["sleep", "1000"] });
    using lost = await startContainer(other, { name: "lost", args: ["sleep", "1000"] });
    using unidentified = await startContainer(other, { name: "unidentified", args: ["sleep", "1000"] });
    await other.kill();
    // Each of them is one that only the runtime can tell about.
    const remove = (...names: string[]) => rmSync(join(other.stateDir, ...names));
    remove("events.log");
    remove(unannounced.id, "init", "started");
    remove(lost.id, "state.json");
    remove(lost.id, "init", "process.json");
    remove(unidentified.id, "init", "pid");
    remove(unidentified.id, "init", "starttime");
    on();
    await other.start();
    const hanging = () => processes().filter(({ parent, command }) => parent === other.pid && command === "sleep 3600");
    const known = async () => (await other.api.state()).containers.map(({ id }) => id).sort();
    expect(await known()).toEqual([plain.id]);
    using another = await startContainer(other, { name: "another", args: ["sh", "-c", "exit 3"] });
    expect(await another.exit()).toBe(3);
    using exec = await startExec(other, plain, { pid: "e", args: ["true"] });
    expect(await exec.exit()).toBe(0);
    const waiting = [unannounced, lost, unidentified];
    for (const { id } of waiting) {
      await expect(other.api.state({ id }, { timeout: 300 })).rejects.toThrow(/deadline/i);
    }
    const questions = waiting.map(({ id }) => other.api.state({ id }));
    // All this time nobody has had an answer.
    expect(hanging()).toHaveLength(3);
    expect(await known()).toEqual([plain.id]);
    off();
    for (const { pid } of hanging()) kill(pid);
    // The one of which nobody can tell which process it is can't be followed: it is ended.
    const answers = await Promise.allSettled(questions);
    expect(answers.map(({ status }) => status)).toEqual(["fulfilled", "fulfilled", "rejected"]);
    expect(await unidentified.exit()).toBe(137);
    for (const container of [plain, unannounced, lost]) {
      await container.kill();
      expect(await container.exit()).toBe(137);
    }
    await other.expectNothingLeft();
  });
});

test("a directory with the name of the event log's next version, and a torn last line: the daemon starts, and events go on", async () => {
  using container = await startContainer(daemon, { name: "c", args: ["sleep", "1000"] });
  await daemon.kill();
  const log = join(daemon.stateDir, "events.log");
  mkdirSync(`${log}.tmp`);
  appendFileSync(log, '{"id":"torn');
  await daemon.start();
  await container.kill();
  expect(await container.exit()).toBe(137);
  rmdirSync(`${log}.tmp`);
  using another = await startContainer(daemon, { name: "d", args: ["true"] });
  await another.exit();
  const before = told(await stored(daemon), container.id);
  expect(before).toEqual(["start-container", "exit init 137"]);
  await daemon.restart({ kill: true });
  expect(told(await stored(daemon), container.id)).toEqual(before);
  expect(readFileSync(log, "utf8")).not.toContain("torn");
});

test("names of the daemon's own files are no ids", async () => {
  const bundlePath = daemon.bundle("c", { args: ["true"] });
  for (const id of ["events.log", "events.log.tmp", "state.json", ".partial-1", "io.containerd.x"]) {
    await expect(daemon.api.createContainer({ id, bundlePath })).rejects.toMatchObject({
      code: 3,
      details: expect.stringContaining(`invalid container id "${id}"`),
    });
  }
  using container = await startContainer(daemon, { name: "d", args: ["sleep", "1000"] });
  await expect(startExec(daemon, container, { pid: "state.json.tmp", args: ["true"] })).rejects.toMatchObject({
    code: 3,
    details: expect.stringContaining('invalid process id "state.json.tmp"'),
  });
});

test("two daemons can't have one state directory", async () => {
  await expect(startDaemon({ flags: ["--state-dir", daemon.stateDir] })).rejects.toThrow(/in use by another daemon/);
  using container = await startContainer(daemon, { name: "still", args: ["true"] });
  expect(await container.exit()).toBe(0);
});

test("a container that is ending when the daemon dies ends under the next one", async () => {
  const { path, on, off } = wrapRuntime(daemon.dir, "slow-delete", "delete", { kind: "sleep", seconds: 0.5 });
  on();
  using container = await startContainer(daemon, {
    name: "ending",
    args: ["sleep", "1000"],
    request: { runtime: path },
  });
  await container.kill();
  await eventually(() => existsSync(join(directory(container.id), "exitStatus")));
  await daemon.restart({ kill: true });
  expect(await container.exit()).toBe(137);
  off();
  await expectUsable("ending");
});

test("many running containers: how long a newer build takes until State answers", async () => {
  const count = times(200, 60);
  const bundle = daemon.bundle("many", { args: ["sleep", "100000"] });
  const names = Array.from({ length: count }, (_, n) => daemon.id(`u${n}`));
  for (let first = 0; first < count; first += 20) {
    await Promise.all(
      names.slice(first, first + 20).map((id) => daemon.api.createContainer({ id, bundlePath: bundle })),
    );
  }
  const stopBegan = performance.now();
  await daemon.stop();
  const stopped = performance.now();
  await daemon.start();
  const { containers } = await daemon.api.state();
  const answered = performance.now();
  console.log(
    `upgrade under ${count} containers: stop ${Math.round(stopped - stopBegan)} ms, ` +
      `start until State answers ${Math.round(answered - stopped)} ms`,
  );
  expect(containers.map(({ id }) => id).sort()).toEqual([...names].sort());
  expect(containers.every(({ status, pids }) => status === "running" && pids.length === 1)).toBe(true);
  for (const { processes: listed } of containers) kill(listed[0]!.systemPid);
  for (const id of names) await daemon.events.waitFor({ type: "exit", id, status: 137 });
  await daemon.expectNothingLeft();
});
