/** Tasks of namespaces outlive their daemon in each state that they can be in, and everything is told once. */
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Status } from "../../src/proto/containerd/types/task/task.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { full } from "../harness/extent.js";
import { isRunning, kill, openDescriptors, processes } from "../harness/processes.js";
import { sharedRootfs } from "../harness/rootfs.js";
import { wrapRuntime } from "../harness/runtime-wrapper.js";
import { createContainer, createTask, startTask } from "../harness/task.js";
import { type ApiV1, refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const NAMESPACE = "test";

let daemon: TestDaemon;
beforeEach(async () => {
  daemon = await startDaemon();
});
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
});

const api = (): ApiV1 => daemon.v1(NAMESPACE);

async function get(containerId: string, execId = "") {
  const { process } = await api().tasks.get({ containerId, execId });
  return process!;
}

const status = async (containerId: string, execId?: string) => Status[(await get(containerId, execId)).status];

const directory = (id: string, process = "init") => join(daemon.runDir, "tasks", NAMESPACE, id, process);

/** Waits for the end of a process while no daemon is there to do it, with what its shim still does. */
const ended = (pid: number) => eventually(() => !isRunning(pid), { what: `the end of ${pid}` });

/** What the log tells of a task, one short text each: "create", "exec-added e", "exit init 137". */
function told(id: string): string[] {
  const log = join(daemon.runDir, "events.log");
  const lines = existsSync(log) ? readFileSync(log, "utf8").split("\n").filter(Boolean) : [];
  return lines
    .map((line) => JSON.parse(line))
    .filter(({ object }) => object === id)
    .map(({ topic, payload }) =>
      [topic.replace("/tasks/", ""), payload.process ?? "", topic === "/tasks/exit" ? payload.status : ""]
        .filter((word) => word !== "")
        .join(" "),
    );
}

async function restart(): Promise<void> {
  await daemon.restart({ kill: true });
}

/** It is deleted, its record too, and nothing is left of it. */
async function expectDeleted(id: string): Promise<void> {
  await api().tasks.delete({ containerId: id });
  await api().containers.delete({ id });
  await daemon.expectNothingLeft();
}

describe("a task that was created", () => {
  test("is started by the next daemon", async () => {
    const task = await createTask(daemon, api(), { name: "c", args: ["sh", "-c", "echo hello; exit 4"], stdio: true });
    await restart();
    expect(await get(task.id)).toMatchObject({ status: Status.CREATED, pid: task.pid });
    expect(isRunning(task.pid)).toBe(true);
    expect(await task.start()).toBe(task.pid);
    expect(await task.exit()).toBe(4);
    expect((await task.output()).stdout).toBe("hello\n");
    expect(told(task.id)).toEqual(["create", "start", "exit init 4"]);
    await restart();
    expect(await status(task.id)).toBe("STOPPED");
    await expectDeleted(task.id);
    expect(told(task.id)).toEqual(["create", "start", "exit init 4", "delete init"]);
  });

  test("whose program ends at once is started by the next daemon", async () => {
    const task = await createTask(daemon, api(), { name: "c", args: ["true"] });
    await restart();
    await task.start();
    expect(await task.exit()).toBe(0);
    expect(told(task.id)).toEqual(["create", "start", "exit init 0"]);
    await expectDeleted(task.id);
  });

  test("is killed, or deleted, under the next daemon", async () => {
    const killed = await createTask(daemon, api(), { name: "k", args: ["true"] });
    const deleted = await createTask(daemon, api(), { name: "d", args: ["true"] });
    await restart();
    await killed.kill();
    expect(await killed.exit()).toBe(137);
    expect(told(killed.id)).toEqual(["create", "exit init 137"]);
    await killed.delete();
    await deleted.delete();
    expect(told(deleted.id)).toEqual(["create", "exit init 137", "delete init"]);
    await api().containers.delete({ id: killed.id });
    await api().containers.delete({ id: deleted.id });
    await daemon.expectNothingLeft();
  });

  test("and whose process is killed while there is no daemon has stopped", async () => {
    const task = await createTask(daemon, api(), { name: "c", args: ["true"] });
    await daemon.kill();
    kill(task.pid);
    await ended(task.pid);
    await daemon.start();
    expect(await task.exit()).toBe(137);
    expect(told(task.id)).toEqual(["create", "exit init 137"]);
    await expectDeleted(task.id);
  });

  test("and was about to be started runs under the next daemon", async () => {
    await using other = daemon;
    // The shim has a runtime of another name start its containers itself.
    const runtime = wrapRuntime(other.dir, "wrapper", "start", { kind: "hold" });
    daemon = await startDaemon({ flags: ["--runtime", runtime.path] });
    runtime.on();
    const task = await createTask(daemon, api(), { name: "c", args: ["sleep", "1000"] });
    const start = task.start().catch(() => {});
    await runtime.called("start");
    await daemon.kill();
    await start;
    await daemon.start();
    runtime.off();
    await eventually(async () => (await status(task.id)) === "RUNNING", { what: "the task to run" });
    await restart();
    expect(await status(task.id)).toBe("RUNNING");
    expect(told(task.id)).toEqual(["create", "start"]);
    await task.kill();
    await task.exit();
    await expectDeleted(task.id);
  });
});

test("a creation that was under way is undone", async () => {
  const containerId = await createContainer(daemon, api(), { name: "c", args: ["sleep", "1000"] });
  const create = api()
    .tasks.create({ containerId })
    .catch(() => {});
  await eventually(() => existsSync(directory(containerId)), { interval: 1, what: "the process's directory" });
  await daemon.kill();
  await create;
  await daemon.start();
  await eventually(() => !existsSync(directory(containerId)), { what: "the end of what was begun" });
  expect(await refusal(api().tasks.get({ containerId }))).toMatch(/^NOT_FOUND: /);
  await api().tasks.create({ containerId });
  expect(told(containerId)).toEqual(["create"]);
  await expectDeleted(containerId);
});

test("a running, a paused and a stopped one, with execs of every state", async () => {
  const running = await startTask(daemon, api(), { name: "r", args: ["sleep", "1000"] });
  const paused = await startTask(daemon, api(), { name: "p", args: ["sleep", "1000"] });
  const stopped = await startTask(daemon, api(), { name: "s", args: ["sh", "-c", "exit 3"] });
  const added = await running.exec({ execId: "added", args: ["sh", "-c", "exit 5"] });
  const runs = await running.exec({ execId: "runs", args: ["sleep", "1000"] });
  const over = await running.exec({ execId: "over", args: ["sh", "-c", "exit 6"] });
  const broken = await running.exec({ execId: "broken", args: ["/nope"] });
  await runs.start();
  await over.start();
  expect(await refusal(broken.start())).toMatch(/no such file or directory/);
  expect(await over.exit()).toBe(6);
  expect(await stopped.exit()).toBe(3);
  await api().tasks.pause({ containerId: paused.id });
  const states = () =>
    Promise.all([
      ...[running, paused, stopped].map(({ id }) => get(id)),
      ...["added", "runs", "over", "broken"].map((execId) => get(running.id, execId)),
    ]);
  const before = await states();
  expect(before.map((process) => Status[process.status])).toEqual([
    "RUNNING",
    "PAUSED",
    "STOPPED",
    "CREATED",
    "RUNNING",
    "STOPPED",
    "STOPPED",
  ]);
  for (let round = 0; round < 2; round++) {
    await restart();
    expect(await states()).toEqual(before);
  }
  expect(await refusal(broken.start())).toMatch(/^FAILED_PRECONDITION: /);
  await broken.delete();
  await added.start();
  expect(await added.exit()).toBe(5);
  await api().tasks.resume({ containerId: paused.id });
  await running.kill();
  expect(await running.exit()).toBe(137);
  expect(told(running.id)).toEqual([
    "create",
    "start",
    "exec-added added",
    "exec-added runs",
    "exec-added over",
    "exec-added broken",
    "exec-started runs",
    "exec-started over",
    "exit over 6",
    "exec-started added",
    "exit added 5",
    "exit runs 137",
    "exit init 137",
  ]);
  expect(told(stopped.id)).toEqual(["create", "start", "exit init 3"]);
  await paused.kill();
  await paused.exit();
  for (const { id } of [running, paused, stopped]) {
    await api().tasks.delete({ containerId: id });
    await api().containers.delete({ id });
  }
  await daemon.expectNothingLeft();
});

test("what ends while there is no daemon is told by the next one, the execs first", async () => {
  const task = await startTask(daemon, api(), { name: "t", args: ["sleep", "1000"] });
  const exec = await task.exec({ execId: "e", args: ["sleep", "1000"] });
  const pid = await exec.start();
  await daemon.kill();
  kill(task.pid);
  await ended(task.pid);
  await ended(pid);
  await daemon.start();
  expect(await exec.exit()).toBe(137);
  expect(await task.exit()).toBe(137);
  const { exitedAt } = await get(task.id);
  await restart();
  expect((await get(task.id)).exitedAt).toEqual(exitedAt);
  expect(told(task.id)).toEqual(["create", "start", "exec-added e", "exec-started e", "exit e 137", "exit init 137"]);
  await expectDeleted(task.id);
});

test("a stopped task holds no process and no descriptor", async () => {
  const task = await startTask(daemon, api(), { name: "t", args: ["sleep", "1000"] });
  await task.exec({ execId: "added", args: ["true"] });
  await task.kill();
  await task.exit();
  const isOfIt = ({ command }: { command: string }) => command.includes(task.id);
  await eventually(() => !processes().some(isOfIt), { what: "the end of its processes" });
  const links = () => [...openDescriptors(daemon.pid).values()].filter((link) => link.includes(task.id));
  expect(links()).toEqual([]);
  await restart();
  expect(await status(task.id)).toBe("STOPPED");
  expect(links()).toEqual([]);
  await expectDeleted(task.id);
});

test("what a kill has left of an exec that was just being added goes", async () => {
  const task = await startTask(daemon, api(), { name: "t", args: ["sleep", "1000"] });
  await daemon.kill();
  mkdirSync(directory(task.id, "half"));
  await daemon.start();
  expect(await status(task.id)).toBe("RUNNING");
  expect(await refusal(api().tasks.get({ containerId: task.id, execId: "half" }))).toMatch(/^NOT_FOUND: /);
  const exec = await task.exec({ execId: "half", args: ["true"] });
  await exec.start();
  expect(await exec.exit()).toBe(0);
  await task.kill();
  await task.exit();
  await expectDeleted(task.id);
});

/** What shows that a life has got to a step, in their order. */
const STEPS: [string, (id: string) => boolean][] = [
  ["its directory is there", (id) => existsSync(directory(id, "."))],
  ["the runtime creates it", (id) => existsSync(join(directory(id), "exitStatus.reserved"))],
  ["the runtime has created it", (id) => existsSync(join(directory(id), "pid"))],
  ["it is kept", (id) => existsSync(join(directory(id), "created"))],
  ["its creation is told", (id) => told(id).includes("create")],
  ["it is being started", (id) => existsSync(join(directory(id), "starting"))],
  ["its start is told", (id) => told(id).includes("start")],
  ["its start is marked", (id) => existsSync(join(directory(id), "started"))],
  ["it has ended", (id) => existsSync(join(directory(id), "exitStatus"))],
  ["its exit is told", (id) => told(id).includes("exit init 137")],
  ["its exit is marked", (id) => existsSync(join(directory(id), "reported"))],
  ["its deletion is told", (id) => told(id).includes("delete init")],
];

/** Begins a task's life, and resolves when it has come to a step; one that has gone past it unseen is begun anew. */
async function lifeUpTo(what: string, hasCome: (id: string) => boolean) {
  for (let count = 0; ; count++) {
    const containerId = await createContainer(daemon, api(), { name: `t${count}`, args: ["sleep", "1000"] });
    let isOver = false;
    const life = (async () => {
      await api().tasks.create({ containerId });
      await api().tasks.start({ containerId });
      await api().tasks.kill({ containerId, signal: 9 });
      await api().tasks.wait({ containerId });
      await api().tasks.delete({ containerId });
    })()
      .catch(() => {})
      .finally(() => {
        isOver = true;
      });
    await eventually(() => hasCome(containerId) || isOver, { interval: 0.1, what });
    if (!isOver || hasCome(containerId)) return { containerId, life };
    await api().containers.delete({ id: containerId });
  }
}

describe("a kill of the daemon at each step of a life", () => {
  test.each(STEPS.filter((_, number) => full || number % 3 === 0))(
    "%s: everything is told once, and nothing is left",
    async (what, hasCome) => {
      const { containerId, life } = await lifeUpTo(what, hasCome);
      await daemon.kill();
      await life;
      await daemon.start();
      const isThere = await get(containerId).then(
        () => true,
        () => false,
      );
      if (isThere) {
        await api()
          .tasks.kill({ containerId, signal: 9 })
          .catch(() => {});
        await api().tasks.wait({ containerId });
        await api().tasks.delete({ containerId });
      }
      await eventually(() => !existsSync(directory(containerId, ".")), { what: "the end of what was begun" });
      expect(told(containerId).join(", ")).toMatch(/^(create, (start, )?exit init 137, delete init)?$/);
      await api().containers.delete({ id: containerId });
      await daemon.expectNothingLeft();
    },
  );
});

test("two daemons never work on one run directory", async () => {
  const task = await startTask(daemon, api(), { name: "t", args: ["sleep", "1000"] });
  await using other = await startDaemon({ runDir: daemon.runDir });
  expect((await other.api.state()).containers).toEqual([]);
  expect(await refusal(other.v1(NAMESPACE).tasks.list())).toBe(
    `FAILED_PRECONDITION: no tasks in namespaces: ${daemon.runDir} is in use by another daemon; ` +
      "--run-dir names another directory: failed precondition",
  );
  await eventually(() => other.log.includes("the tasks of namespaces are not available"));
  await daemon.kill();
  const pids = async () => (await other.v1(NAMESPACE).tasks.list()).tasks.map(({ pid }) => pid);
  await eventually(async () => (await pids())[0] === task.pid, { what: "the task under the other daemon" });
  await other.v1(NAMESPACE).tasks.kill({ containerId: task.id, signal: 9 });
  await other.v1(NAMESPACE).tasks.wait({ containerId: task.id });
  await other.v1(NAMESPACE).tasks.delete({ containerId: task.id });
});

test("the run directory is made when it is needed", async () => {
  expect(existsSync(daemon.runDir)).toBe(false);
  expect((await api().tasks.list()).tasks).toEqual([]);
  expect(existsSync(daemon.runDir)).toBe(false);
  const task = await startTask(daemon, api(), { name: "t", args: ["true"] });
  expect(readdirSync(daemon.runDir).sort()).toEqual(["events.log", "runc", "tasks"]);
  await task.exit();
  await expectDeleted(task.id);
});

test("a run directory that others may write to, or that is containerd 1.x's, is refused", async () => {
  const refusals = async () => (await refusal(api().tasks.list())).replace(daemon.runDir, "DIR");
  mkdirSync(daemon.runDir);
  chmodSync(daemon.runDir, 0o777);
  expect(await refusals()).toMatch(/^FAILED_PRECONDITION: .*DIR can't be used \(everybody may write to/);
  chmodSync(daemon.runDir, 0o755);
  mkdirSync(join(daemon.runDir, "io.containerd.runtime.v2.task"));
  expect(await refusals()).toMatch(/^FAILED_PRECONDITION: .*DIR is containerd 1.x's/);
  expect(readdirSync(daemon.runDir)).toEqual(["io.containerd.runtime.v2.task"]);
  rmdirSync(join(daemon.runDir, "io.containerd.runtime.v2.task"));
  expect((await api().tasks.list()).tasks).toEqual([]);
});

test("a task whose root is another user of the host", async () => {
  const mapping = { containerID: 0, hostID: 100_000, size: 65_536 };
  for (const path of [daemon.dir, dirname(sharedRootfs())]) chmodSync(path, 0o755);
  const task = await startTask(daemon, api(), {
    name: "t",
    args: ["sleep", "1000"],
    spec: (spec) => {
      spec.linux.namespaces.push({ type: "user" });
      spec.linux.uidMappings = [mapping];
      spec.linux.gidMappings = [mapping];
    },
  });
  const bundle = directory(task.id, ".bundle");
  const access = () => [dirname(bundle), bundle].map((path) => [statSync(path).mode & 0o777, statSync(path).gid]);
  expect(access()).toEqual([
    [0o710, mapping.hostID],
    [0o710, mapping.hostID],
  ]);
  // As a mounted root file system has it.
  chownSync(join(bundle, "rootfs"), mapping.hostID, mapping.hostID);
  await restart();
  expect(await status(task.id)).toBe("RUNNING");
  expect(access()[0]).toEqual([0o710, mapping.hostID]);
  await task.kill();
  await task.exit();
  await expectDeleted(task.id);
});

test("a daemon that stops does not wait for those who wait for an exit", async () => {
  const task = await startTask(daemon, api(), { name: "t", args: ["sleep", "1000"] });
  const wait = refusal(task.wait());
  // The call is there: the next one on this connection is answered.
  await status(task.id);
  await daemon.stop();
  expect(await wait).toBe("UNAVAILABLE: the daemon stops: unavailable");
  await daemon.start();
  await task.kill();
  await task.exit();
  await expectDeleted(task.id);
});
