/** Shims that are killed, while the daemon runs and while it does not: what becomes of their processes, and what is told about them. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startContainer, type TestContainer } from "../harness/container.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { times } from "../harness/extent.js";
import { isRunning, kill, processes } from "../harness/processes.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { eventually, sleep } from "../harness/wait.js";

let daemon: TestDaemon;
beforeEach(async () => {
  daemon = await startDaemon();
});
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
});

const directory = (id: string, process = "init") => join(daemon.stateDir, id, process);

/** The pid of the shim that works in a process directory. */
async function shimOf(id: string, process = "init"): Promise<number> {
  const shim = await eventually(() =>
    processes().find((info) => info.directory === directory(id, process) && info.command.includes("containerd-shim")),
  );
  return shim.pid;
}

const initPid = ({ response }: TestContainer) => response.container!.processes[0]!.systemPid;

const types = (id: string) => daemon.events.all({ id }).map(({ type, pid }) => [type, pid].join(" ").trim());

describe("while the daemon runs", () => {
  test("its process is killed: 137, each of ten at a time", async () => {
    for (let round = 0; round < times(6, 1); round++) {
      const containers = await Promise.all(
        Array.from({ length: 10 }, (_, n) =>
          startContainer(daemon, { name: `r${round}-${n}`, args: ["sleep", "1000"] }),
        ),
      );
      const shims = processes().filter(
        ({ directory: cwd, command }) => cwd.startsWith(daemon.stateDir) && command.includes("containerd-shim"),
      );
      expect(shims).toHaveLength(10);
      for (const { pid } of shims) kill(pid);
      for (const container of containers) {
        expect(await container.exit()).toBe(137);
        expect(isRunning(initPid(container))).toBe(false);
        expect(types(container.id)).toEqual(["start-container", "exit init"]);
      }
      await daemon.expectNothingLeft();
    }
  });

  test("of a container with execs: all of them 137, before init", async () => {
    using container = await startContainer(daemon, { name: "execs", args: ["sleep", "1000"] });
    using first = await startExec(daemon, container, { pid: "first", args: ["sleep", "1000"] });
    using second = await startExec(daemon, container, { pid: "second", args: ["sleep", "1000"] });
    kill(await shimOf(container.id));
    expect(await first.exit()).toBe(137);
    expect(await second.exit()).toBe(137);
    expect(await container.exit()).toBe(137);
    expect(types(container.id).at(-1)).toBe("exit init");
    await daemon.expectNothingLeft();
  });

  test("of an exec: only that process ends, 137", async () => {
    using container = await startContainer(daemon, { name: "exec", args: ["sleep", "1000"] });
    for (let round = 0; round < 20; round++) {
      using exec = await startExec(daemon, container, { pid: `e${round}`, args: ["sleep", "1000"] });
      kill(await shimOf(container.id, `e${round}`));
      expect(await exec.exit()).toBe(137);
      expect(isRunning(exec.systemPid)).toBe(false);
    }
    expect((await daemon.api.state()).containers[0]).toMatchObject({ status: "running", processes: [{ pid: "init" }] });
    await container.kill();
    expect(await container.exit()).toBe(137);
    await daemon.expectNothingLeft();
  });

  test("of a paused container: 137, although a frozen process takes no signal", async () => {
    using container = await startContainer(daemon, { name: "paused", args: ["sleep", "1000"] });
    using exec = await startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] });
    await daemon.api.updateContainer({ id: container.id, status: "paused" });
    kill(await shimOf(container.id));
    expect(await container.exit()).toBe(137);
    expect(await exec.exit()).toBe(137);
    await daemon.expectNothingLeft();
  });

  test("with all shims of a container at once: 137 for each", async () => {
    using container = await startContainer(daemon, { name: "all", args: ["sleep", "1000"] });
    using exec = await startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] });
    const shims = [await shimOf(container.id), await shimOf(container.id, "e")];
    for (const pid of shims) kill(pid);
    expect(await exec.exit()).toBe(137);
    expect(await container.exit()).toBe(137);
    await daemon.expectNothingLeft();
  });

  test("after its process had ended, before it had cleaned up: the true status, and nothing is left", async () => {
    const { path, on, off } = wrapRuntime(daemon.dir, "slow", "delete", { kind: "hang" });
    using container = await startContainer(daemon, {
      name: "late",
      args: ["sh", "-c", "read go; exit 8"],
      request: { runtime: path },
      stdio: true,
    });
    const shim = await shimOf(container.id);
    on();
    container.stdio.stdin.write("go\n");
    await eventually(() => readFileSync(join(directory(container.id), "exitStatus"), "utf8") === "8");
    await eventually(() => readFileSync(`${path}.calls`, "utf8").includes("delete"));
    off();
    kill(shim);
    expect(await container.exit()).toBe(8);
    await daemon.expectNothingLeft();
  });

  test("during its start: the start fails, and nothing is left", async () => {
    for (const at of ["create", "start"] as const) {
      const { path, on, off, called } = wrapRuntime(daemon.dir, `slow-${at}`, at, { kind: "hold" });
      on();
      const starting = startContainer(daemon, { name: at, args: ["sleep", "1000"], request: { runtime: path } });
      starting.catch(() => {});
      await called(at);
      kill(await shimOf(daemon.id(at)));
      await expect(starting).rejects.toThrow(/not started|shim exited before/);
      off();
      await daemon.expectNothingLeft();
    }
    expect(daemon.events.events).toEqual([]);
  });

  test("of a restored container: 137", async () => {
    using container = await startContainer(daemon, { name: "restored", args: ["sleep", "1000"] });
    await daemon.restart({ kill: true });
    kill(await shimOf(container.id));
    expect(await container.exit()).toBe(137);
    expect(isRunning(initPid(container))).toBe(false);
    await daemon.expectNothingLeft();
  });
});

describe("while the daemon is down", () => {
  test("its process still runs: it is killed, 137", async () => {
    const containers = await Promise.all(
      Array.from({ length: 10 }, (_, n) => startContainer(daemon, { name: `down-${n}`, args: ["sleep", "1000"] })),
    );
    using exec = await startExec(daemon, containers[0]!, { pid: "e", args: ["sleep", "1000"] });
    await daemon.kill();
    for (const { id } of containers) kill(await shimOf(id));
    expect(containers.every((container) => isRunning(initPid(container)))).toBe(true);
    await daemon.start();
    expect(await exec.exit()).toBe(137);
    for (const container of containers) {
      expect(await container.exit()).toBe(137);
      expect(isRunning(initPid(container))).toBe(false);
    }
    expect(types(containers[0]!.id)).toEqual(["start-container", "start-process e", "exit e", "exit init"]);
    await daemon.expectNothingLeft();
  });

  test("its process has ended too: nobody knows how, 255", async () => {
    using container = await startContainer(daemon, { name: "gone", args: ["sleep", "1000"] });
    using exec = await startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] });
    await daemon.kill();
    const shims = [await shimOf(container.id), await shimOf(container.id, "e")];
    for (const pid of shims) kill(pid);
    kill(initPid(container));
    await eventually(() => !isRunning(initPid(container)) && !isRunning(exec.systemPid));
    await daemon.start();
    expect(await exec.exit()).toBe(255);
    expect(await container.exit()).toBe(255);
    await daemon.expectNothingLeft();
  });

  test("its process is paused: thawed and killed, 137", async () => {
    using container = await startContainer(daemon, { name: "frozen", args: ["sleep", "1000"] });
    await daemon.api.updateContainer({ id: container.id, status: "paused" });
    await daemon.kill();
    kill(await shimOf(container.id));
    await daemon.start();
    expect(await container.exit()).toBe(137);
    await daemon.expectNothingLeft();
  });
});

describe("a recycled pid", () => {
  let stranger: ChildProcess;
  beforeEach(() => {
    stranger = spawn("sleep", ["1000"], { stdio: "ignore" });
  });
  afterEach(() => {
    stranger.kill("SIGKILL");
  });

  /** Makes the process directory say that the container's process was the one that now has another program's pid. */
  function recycle(id: string, process: string, pid: number, starttime: string): void {
    writeFileSync(join(directory(id, process), "pid"), String(pid));
    writeFileSync(join(directory(id, process), "starttime"), starttime);
  }

  test("is told apart by the start time: 255, and the stranger is left alone", async () => {
    using container = await startContainer(daemon, { name: "recycled", args: ["sleep", "1000"] });
    using exec = await startExec(daemon, container, { pid: "e", args: ["sleep", "1000"] });
    const old = readFileSync(join(directory(container.id), "starttime"), "utf8");
    await daemon.kill();
    const shims = [await shimOf(container.id), await shimOf(container.id, "e")];
    for (const pid of shims) kill(pid);
    kill(initPid(container));
    await eventually(() => !isRunning(initPid(container)) && !isRunning(exec.systemPid));
    recycle(container.id, "init", stranger.pid!, old);
    recycle(container.id, "e", stranger.pid!, old);
    await daemon.start();
    expect(await exec.exit()).toBe(255);
    expect(await container.exit()).toBe(255);
    await sleep(100);
    expect(isRunning(stranger.pid!)).toBe(true);
    await daemon.expectNothingLeft();
  });

  test("gets no signal from the API either", async () => {
    using container = await startContainer(daemon, { name: "signal", args: ["sleep", "1000"] });
    const pid = readFileSync(join(directory(container.id), "pid"), "utf8");
    const starttime = readFileSync(join(directory(container.id), "starttime"), "utf8");
    await daemon.kill();
    recycle(container.id, "init", stranger.pid!, starttime);
    await daemon.start();
    await expect(container.kill()).rejects.toThrow(/no such process/);
    expect(isRunning(stranger.pid!)).toBe(true);
    await daemon.kill();
    recycle(container.id, "init", Number(pid), starttime);
    await daemon.start();
    await container.kill();
    expect(await container.exit()).toBe(137);
  });

  test("without a start time nobody can tell it apart: no signal, 255", async () => {
    using container = await startContainer(daemon, { name: "unknown", args: ["sleep", "1000"] });
    await daemon.kill();
    kill(await shimOf(container.id));
    kill(initPid(container));
    await eventually(() => !isRunning(initPid(container)));
    recycle(container.id, "init", stranger.pid!, "");
    await daemon.start();
    expect(await container.exit()).toBe(255);
    expect(isRunning(stranger.pid!)).toBe(true);
    await daemon.expectNothingLeft();
  });
});
