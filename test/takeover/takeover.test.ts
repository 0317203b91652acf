/** Take-over in both directions: of what a Go containerd 0.2.x has left running, and of our containers by a daemon that is not ours. */
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { repository, shimProgram } from "../harness/paths.js";
import { isRunning, kill } from "../harness/processes.js";
import { collect, makeFifos, openReader, openWriter } from "../harness/stdio.js";
import { told } from "../harness/told.js";
import { eventually } from "../harness/wait.js";
import { GoContainer, type GoProcess } from "./go-daemon.js";

const otherShim = join(repository, "test/takeover/shim.mjs");

let daemon: TestDaemon;
beforeEach(async () => {
  daemon = await startDaemon();
});
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
});

/** FIFOs with a client at them. */
function client(name: string) {
  const path = (end: string) => join(daemon.dir, `${name}.${end}`);
  makeFifos(path("in"), path("out"), path("err"));
  const stdout = collect(openReader(path("out")));
  return {
    paths: { stdin: path("in"), stdout: path("out"), stderr: path("err") },
    stdin: openWriter(path("in")),
    stdout,
    stderr: collect(openReader(path("err"))),
    printed: (text: string) => eventually(() => stdout.soFar().includes(text), { what: JSON.stringify(text) }),
  };
}

describe.each([
  { whose: "another's shim", shim: otherShim },
  { whose: "our shim", shim: shimProgram },
])("what a Go daemon has left running with $whose", ({ shim }) => {
  /** A running container as the Go daemon leaves it when it dies. */
  async function left(name: string, args: string[], labels: string[] | null = null) {
    const stdio = client(name);
    const container = new GoContainer(
      daemon.stateDir,
      daemon.id(name),
      daemon.bundle(name, { args }),
      shim,
      stdio.paths,
      labels,
    );
    const init = container.run("init", stdio.paths);
    const pid = await init.created();
    container.start();
    return { container, init, pid, stdio };
  }

  test("is shown, with its stdio, and can be used: control messages, execs, signals, exit", async () => {
    await daemon.stop();
    const { container, init, pid, stdio } = await left(
      "c",
      ["sh", "-c", "while read l; do echo got $l; done; echo end; exit 21"],
      ["a=b"],
    );
    stdio.stdin.write("one\n");
    await stdio.printed("got one");
    init.leave();
    await daemon.start();
    const { containers } = await daemon.api.state();
    expect(containers).toMatchObject([
      {
        id: container.id,
        bundlePath: container.bundle,
        labels: ["a=b"],
        status: "running",
        runtime: "runc",
        processes: [{ pid: "init", systemPid: pid, ...stdio.paths }],
      },
    ]);
    expect(containers[0]!.pids).toContain(pid);
    stdio.stdin.write("two\n");
    await stdio.printed("got two");
    using exec = await startExec(daemon, container, { pid: "e", args: ["sh", "-c", "exit 5"] });
    expect(await exec.exit()).toBe(5);
    await daemon.api.updateProcess({ id: container.id, pid: "init", width: 100, height: 30 });
    await daemon.api.updateProcess({ id: container.id, pid: "init", closeStdin: true });
    stdio.stdin.end();
    expect((await daemon.events.waitFor({ type: "exit", id: container.id, pid: "init" })).status).toBe(21);
    expect((await stdio.stdout.whole).toString()).toBe("got one\ngot two\nend\n");
    expect(told(daemon.events.events, container.id)).toEqual([
      "start-container",
      "start-process e",
      "exit e 5",
      "exit init 21",
    ]);
    await daemon.expectNothingLeft();
  });

  test("with an exec of its own, killed through the API", async () => {
    await daemon.stop();
    const { container, init } = await left("c", ["sleep", "1000"]);
    const exec = container.run("shell", {}, ["sleep", "1001"]);
    const pid = await exec.created();
    container.store({ type: "start-process", pid: "shell", status: 0 });
    for (const process of [init, exec]) process.leave();
    await daemon.start();
    expect((await daemon.api.state()).containers[0]!.processes.map((process) => process.pid).sort()).toEqual([
      "init",
      "shell",
    ]);
    await daemon.api.signal({ id: container.id, pid: "shell", signal: 15 });
    // `sleep` as no pid 1: SIGTERM ends it.
    expect((await daemon.events.waitFor({ type: "exit", id: container.id, pid: "shell" })).status).toBe(143);
    expect(isRunning(pid)).toBe(false);
    await daemon.api.signal({ id: container.id, pid: "init", signal: 9 });
    expect((await daemon.events.waitFor({ type: "exit", id: container.id, pid: "init" })).status).toBe(137);
    expect(told(daemon.events.events, container.id)).toEqual([
      "start-container",
      "start-process shell",
      "exit shell 143",
      "exit init 137",
    ]);
    await daemon.expectNothingLeft();
  });

  test("that ended while no daemon was there: its exit is told, execs first", async () => {
    await daemon.stop();
    const { container, init, pid } = await left("c", ["sleep", "1000"]);
    const exec = container.run("shell", {}, ["sh", "-c", "sleep 0.2; exit 3"]);
    const execPid = await exec.created();
    container.store({ type: "start-process", pid: "shell", status: 0 });
    await eventually(() => !isRunning(execPid));
    kill(pid);
    await eventually(() => init.hungUp && exec.hungUp);
    for (const process of [init, exec]) process.leave();
    await daemon.start();
    await daemon.events.waitFor({ type: "exit", id: container.id, pid: "init" });
    expect(told(daemon.events.events, container.id)).toEqual([
      "start-container",
      "start-process shell",
      "exit shell 3",
      "exit init 137",
    ]);
    await daemon.expectNothingLeft();
  });

  test("whose shim is killed: 137", async () => {
    await daemon.stop();
    const { container, init } = await left("c", ["sleep", "1000"]);
    init.leave();
    await daemon.start();
    kill(init.shim.pid!);
    expect((await daemon.events.waitFor({ type: "exit", id: container.id, pid: "init" })).status).toBe(137);
    await daemon.expectNothingLeft();
  });

  test("that was created, but not started: nobody was told of it, and it goes", async () => {
    await daemon.stop();
    const container = new GoContainer(
      daemon.stateDir,
      daemon.id("c"),
      daemon.bundle("c", { args: ["sleep", "1000"] }),
      shim,
    );
    const init = container.run("init");
    const pid = await init.created();
    init.leave();
    await daemon.start();
    await eventually(() => !existsSync(container.directory));
    expect(isRunning(pid)).toBe(false);
    expect((await daemon.api.state()).containers).toEqual([]);
    await daemon.expectNothingLeft();
  });
});

test("state of the 0.2.3 era: a list of capabilities, -1 in events.log, no shim in state.json", async () => {
  await daemon.stop();
  const bundle = daemon.bundle("old", { args: ["sleep", "1000"], oldFormat: true });
  const container = new GoContainer(daemon.stateDir, daemon.id("old"), bundle, shimProgram);
  // runc 1.x refuses the list; the runc of that era did not.
  const current = daemon.bundle("current", { args: ["sleep", "1000"] });
  const config = readFileSync(join(bundle, "config.json"), "utf8");
  writeFileSync(join(bundle, "config.json"), readFileSync(join(current, "config.json")));
  const init = container.run("init");
  await init.created();
  container.start();
  container.store({ type: "exit", pid: "earlier", status: -1 });
  writeFileSync(join(bundle, "config.json"), config);
  const state = JSON.parse(init.read("process.json"));
  state.capabilities = ["CAP_KILL", "CAP_CHOWN"];
  writeFileSync(join(init.directory, "process.json"), JSON.stringify(state));
  const { runtime } = JSON.parse(readFileSync(join(container.directory, "state.json"), "utf8"));
  writeFileSync(
    join(container.directory, "state.json"),
    JSON.stringify({ bundle, labels: null, stdin: "", stdout: "", stderr: "", runtime }),
  );
  init.leave();
  await daemon.start();
  const { containers } = await daemon.api.state();
  expect(containers).toMatchObject([
    { id: container.id, labels: [], processes: [{ capabilities: ["CAP_KILL", "CAP_CHOWN"] }] },
  ]);
  expect((await daemon.events.waitFor({ type: "exit", pid: "earlier" })).status).toBe(255);
  using exec = await startExec(daemon, container, { pid: "e", args: ["true"] });
  expect(await exec.exit()).toBe(0);
  await daemon.api.signal({ id: container.id, pid: "init", signal: 9 });
  expect((await daemon.events.waitFor({ type: "exit", id: container.id, pid: "init" })).status).toBe(137);
});

describe("our daemon with --shim: a shim that knows the process directory only", () => {
  test("starts, execs, stdio, exits", async () => {
    await using other = await startDaemon({ flags: ["--shim", otherShim] });
    using container = await startContainer(other, {
      name: "c",
      args: ["sh", "-c", "echo hello; while read l; do echo got $l; done; exit 6"],
      stdio: true,
    });
    expect(JSON.parse(readFileSync(join(other.stateDir, container.id, "state.json"), "utf8")).shim).toBe(otherShim);
    container.stdio.stdin.write("x\n");
    await container.printed("got x");
    using exec = await startExec(other, container, {
      pid: "e",
      args: ["sh", "-c", "echo from exec; exit 4"],
      stdio: true,
    });
    expect((await exec.output()).stdout).toBe("from exec\n");
    expect(await exec.exit()).toBe(4);
    await other.restart({ kill: true });
    await other.api.updateProcess({ id: container.id, pid: "init", closeStdin: true });
    container.stdio.stdin.end();
    expect(await container.exit()).toBe(6);
    expect((await container.output()).stdout.toString()).toBe("hello\ngot x\n");
    await other.expectNothingLeft();
  });

  test("errors come from the logs that it and the runtime leave; nothing else is left", async () => {
    await using other = await startDaemon({ flags: ["--shim", otherShim] });
    await expect(startContainer(other, { name: "c", args: ["/no/such/program"] })).rejects.toThrow(
      /oci runtime error: .*no such file/,
    );
    await other.expectNothingLeft();
    await expect(
      startContainer(other, { name: "d", args: ["true"], request: { runtime: "no-such-runtime" } }),
    ).rejects.toThrow(/shim error: no-such-runtime not installed on system/);
    await other.expectNothingLeft();
  });

  test("many at once, each exit once", async () => {
    await using other = await startDaemon({ flags: ["--shim", otherShim] });
    const containers = await Promise.all(
      Array.from({ length: 8 }, (_, n) => startContainer(other, { name: `c${n}`, args: ["sh", "-c", `exit ${n}`] })),
    );
    for (const [n, container] of containers.entries()) {
      expect(await container.exit()).toBe(n);
      expect(told(other.events.events, container.id)).toEqual(["start-container", `exit init ${n}`]);
    }
    await other.expectNothingLeft();
  });
});

describe("our shim under a daemon that is not ours", () => {
  const run = (name: string, args: string[], stdio = {}) => {
    const container = new GoContainer(
      daemon.stateDir,
      daemon.id(name),
      daemon.bundle(name, { args }),
      shimProgram,
      stdio,
    );
    return { container, init: container.run("init", stdio) };
  };
  const gone = (process: GoProcess) => eventually(() => process.hungUp, { what: "the hang-up of the exit FIFO" });
  beforeEach(async () => {
    await daemon.stop();
    mkdirSync(daemon.stateDir, { recursive: true });
  });

  test("waits for `runc start`, copies stdio, closes stdin, records the status, deletes the container, hangs up", async () => {
    const stdio = client("c");
    const { container, init } = run("c", ["sh", "-c", "while read l; do echo got $l; done; exit 13"], stdio.paths);
    const pid = await init.created();
    expect(existsSync(join(init.directory, "exitStatus"))).toBe(false);
    container.start();
    stdio.stdin.write("one\n");
    await stdio.printed("got one");
    expect(init.hungUp).toBe(false);
    init.control(0);
    stdio.stdin.end();
    await gone(init);
    expect(init.read("exitStatus")).toBe("13");
    expect((await stdio.stdout.whole).toString()).toBe("got one\n");
    expect(isRunning(pid)).toBe(false);
    expect(existsSync(join("/run/runc", container.id))).toBe(false);
    init.leave();
  });

  test("survives its daemon, and an exec's shim too", async () => {
    const { container, init } = run("c", ["sleep", "1000"]);
    const pid = await init.created();
    container.start();
    const exec = container.run("e", {}, ["sh", "-c", "sleep 0.3; exit 17"]);
    await exec.created();
    for (const process of [init, exec]) process.leave();
    await eventually(() => existsSync(join(exec.directory, "exitStatus")));
    expect(exec.read("exitStatus")).toBe("17");
    expect(isRunning(pid)).toBe(true);
    kill(pid);
    await eventually(
      () => existsSync(join(init.directory, "exitStatus")) && !existsSync(join("/run/runc", container.id)),
    );
    expect(init.read("exitStatus")).toBe("137");
  });

  test("a runtime that fails is in log.json, the shim ends with the FIFO's hang-up", async () => {
    const { init } = run("c", ["/no/such/program"]);
    await gone(init);
    expect(init.read("log.json")).toContain("no such file or directory");
    expect(existsSync(join(init.directory, "pid"))).toBe(false);
    init.leave();
  });

  test("what our daemon has left running can be continued from the directory alone", async () => {
    await daemon.start();
    using container = await startContainer(daemon, {
      name: "ours",
      args: ["sh", "-c", "while read l; do echo got $l; done; exit 19"],
      stdio: true,
    });
    await daemon.kill();
    // As the Go daemon would read it.
    const directory = join(daemon.stateDir, container.id);
    const state = JSON.parse(readFileSync(join(directory, "state.json"), "utf8"));
    expect(Object.keys(state).sort()).toEqual(
      ["bundle", "labels", "noPivotRoot", "runtime", "runtimeArgs", "shim", "stderr", "stdin", "stdout"].sort(),
    );
    const process = JSON.parse(readFileSync(join(directory, "init/process.json"), "utf8"));
    expect(process).toMatchObject({
      exec: false,
      containerdStdin: container.stdio.paths.stdin,
      rootUID: 0,
      rootGID: 0,
      checkpoint: "",
    });
    const exit = openSync(join(directory, "init/exit"), constants.O_RDONLY | constants.O_NONBLOCK);
    const control = openSync(join(directory, "init/control"), constants.O_RDWR | constants.O_NONBLOCK);
    writeSync(control, "1 80 24\n0 0 0\n");
    container.stdio.stdin.end("bye\n");
    expect((await container.output()).stdout.toString()).toBe("got bye\n");
    await eventually(() => readSync(exit, Buffer.alloc(1)) === 0);
    expect(readFileSync(join(directory, "init/exitStatus"), "utf8")).toBe("19");
    for (const fd of [exit, control]) closeSync(fd);
    await daemon.start();
    expect(await container.exit()).toBe(19);
    await daemon.expectNothingLeft();
  });
});
