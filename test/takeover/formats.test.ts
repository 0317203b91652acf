/**
 * What another containerd 0.2 relies on in a state directory of ours, checked by its rules: the types of every field, the FIFOs' modes, the
 * files beside them. And what becomes of a container whose shim is not the one that the daemon would start now.
 */
import { constants, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { startContainer } from "../harness/container.js";
import { startDaemon, TestDaemon } from "../harness/daemon.js";
import { startExec } from "../harness/exec.js";
import { findProgram, repository, shimProgram } from "../harness/paths.js";
import { isRunning, kill, processes, statOf } from "../harness/processes.js";
import { eventually } from "../harness/wait.js";

/** A shim that knows the process directory only. */
const otherShim = join(repository, "test/takeover/shim.mjs");

const shimsOf = (id: string) => processes().filter(({ command }) => command.includes(`${otherShim} ${id} `));

const directories = (path: string) =>
  readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name)
    .sort();

/** What `typeof` says, and "list" for what Go reads into a slice. */
function expectTypes(path: string, types: Record<string, string>): void {
  const fields = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
  for (const [name, type] of Object.entries(types)) {
    const value = fields[name];
    expect(Array.isArray(value) || value === null ? "list" : typeof value, `${name} in ${path}`).toBe(type);
  }
}

test("every directory is one that a daemon of 0.2 can load", async () => {
  await using daemon = await startDaemon();
  using container = await startContainer(daemon, {
    name: "full",
    args: ["sleep", "1000"],
    stdio: true,
    request: { labels: ["a=b"] },
  });
  using exec = await startExec(daemon, container, { pid: "shell", args: ["sleep", "1000"] });
  using plain = await startContainer(daemon, { name: "plain", args: ["sleep", "1000"] });
  using ended = await startContainer(daemon, { name: "ended", args: ["sh", "-c", "exit 7"] });
  expect(await ended.exit()).toBe(7);
  await daemon.kill();
  const { stateDir } = daemon;

  expect(directories(stateDir)).toEqual([container.id, plain.id].sort());
  for (const id of directories(stateDir)) {
    expectTypes(join(stateDir, id, "state.json"), {
      bundle: "string",
      labels: "list",
      stdin: "string",
      stdout: "string",
      stderr: "string",
      runtime: "string",
      runtimeArgs: "list",
      shim: "string",
      noPivotRoot: "boolean",
    });
    // Each of them is taken for a process.
    expect(directories(join(stateDir, id))).toEqual(id === container.id ? ["init", "shell"] : ["init"]);
    for (const pid of directories(join(stateDir, id))) {
      const directory = join(stateDir, id, pid);
      expectTypes(join(directory, "process.json"), {
        args: "list",
        env: "list",
        cwd: "string",
        terminal: "boolean",
        user: "object",
        exec: "boolean",
        containerdStdin: "string",
        containerdStdout: "string",
        containerdStderr: "string",
        runtimeArgs: "list",
        noPivotRoot: "boolean",
        checkpoint: "string",
        rootUID: "number",
        rootGID: "number",
      });
      for (const name of ["exit", "control"])
        expect(statSync(join(directory, name)).mode, name).toBe(constants.S_IFIFO | 0o600);
      const systemPid = readFileSync(join(directory, "pid"), "utf8");
      expect(systemPid).toMatch(/^\d+$/);
      expect(readFileSync(join(directory, "starttime"), "utf8")).toBe(statOf(Number(systemPid)).field(22));
      // Anything in it would be taken for an exit.
      expect(readdirSync(directory)).not.toContain("exitStatus");
    }
  }
  expect(readFileSync(join(stateDir, container.id, "shell", "pid"), "utf8")).toBe(String(exec.systemPid));
  expect(JSON.parse(readFileSync(join(stateDir, container.id, "state.json"), "utf8")).shim).toBe(shimProgram);

  for (const line of readFileSync(join(stateDir, "events.log"), "utf8").trim().split("\n")) {
    const event = JSON.parse(line);
    expect(event).toMatchObject({ id: expect.any(String), type: expect.any(String) });
    // Go's is unsigned.
    expect(event.status ?? 0).toBeGreaterThanOrEqual(0);
    expect(event.timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/);
  }
});

test("a container keeps its shim when the daemon's is another one now", async () => {
  await using first = await startDaemon({ flags: ["--shim", otherShim] });
  using container = await startContainer(first, { name: "kept", args: ["sleep", "1000"] });
  await first.kill();
  await using second = new TestDaemon({ stateDir: first.stateDir });
  await second.start();
  using exec = await startExec(second, container, { pid: "e", args: ["sleep", "1001"] });
  expect(shimsOf(container.id)).toHaveLength(2);
  await exec.kill();
  expect(await exec.exit()).toBe(137);
  await second.api.signal({ id: container.id, pid: "init", signal: 9 });
  expect((await second.events.waitFor({ type: "exit", id: container.id, pid: "init" })).status).toBe(137);
  // The first one looks for the containers in its own territory, where the second one's command line names the state directory.
  await second.stop();
  await first.expectNothingLeft();
});

test("another's shim killed while no daemon runs: the process is ended, 137; one that was gone by then, 255", async () => {
  await using daemon = await startDaemon({ flags: ["--shim", otherShim] });
  using alive = await startContainer(daemon, { name: "alive", args: ["sleep", "1000"] });
  using gone = await startContainer(daemon, { name: "gone", args: ["sleep", "1000"] });
  const [pid, gonePid] = [alive, gone].map(({ response }) => response.container!.processes[0]!.systemPid);
  await daemon.kill();
  for (const { id } of [alive, gone]) for (const shim of shimsOf(id)) kill(shim.pid);
  kill(gonePid!);
  await eventually(() => !isRunning(gonePid!));
  await daemon.start();
  expect(await alive.exit()).toBe(137);
  expect(await gone.exit()).toBe(255);
  expect(isRunning(pid!)).toBe(false);
  await daemon.expectNothingLeft();
});

test("a container that ends at once is started all the same under another's shim, over and over", async () => {
  await using daemon = await startDaemon({ flags: ["--shim", otherShim] });
  const id = daemon.id("quick");
  const expected: string[] = [];
  void daemon.events;
  for (let round = 0; round < 10; round++) {
    const bundlePath = daemon.bundle(`quick-${round}`, { args: ["sh", "-c", `exit ${round}`] });
    await daemon.api.createContainer({ id, bundlePath });
    expected.push("start-container 0", `exit ${round}`);
    await eventually(() => daemon.events.events.length === expected.length, { what: `exit ${round}` });
  }
  expect(daemon.events.events.map(({ type, status }) => `${type} ${status}`)).toEqual(expected);
  await daemon.expectNothingLeft();
});

test("one that has ended, and was deleted, before its runtime's start has ended is started, too", async () => {
  await using daemon = await startDaemon({ flags: ["--shim", otherShim] });
  const runtime = join(daemon.dir, "runc");
  const lines = [
    "#!/bin/sh",
    `${findProgram("runc")} "$@" || exit`,
    'case " $* " in *" start "*) ;; *) exit 0 ;; esac',
    "for id; do :; done",
    `while ${findProgram("runc")} state "$id" >/dev/null 2>&1; do sleep 0.02; done`,
    // As runc says it, which removes the FIFO at the end.
    'echo "remove /run/runc/$id/exec.fifo: no such file or directory" >&2',
    "exit 1",
  ];
  writeFileSync(runtime, `${lines.join("\n")}\n`, { mode: 0o755 });
  using ended = await startContainer(daemon, { name: "ended", args: ["sh", "-c", "exit 7"], request: { runtime } });
  expect(await ended.exit()).toBe(7);
  expect(daemon.events.events.map(({ type }) => type)).toEqual(["start-container", "exit"]);
  await daemon.expectNothingLeft();
});
