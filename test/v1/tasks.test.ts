/** The life of a task: created, running, paused, stopped, deleted; each step is a call of its own. */
import { expect, test } from "vitest";
import { Status } from "../../src/proto/containerd/types/task/task.js";
import type { Spec } from "../harness/bundle.js";
import { isDebians, useContainerd1 } from "../harness/containerd1.js";
import { createContainer, createTask, startTask } from "../harness/task.js";
import { type ApiV1, refusal } from "../harness/v1.js";

const containerd = useContainerd1();

/** What is not possible in this state. containerd 1.6's shim does not say which kind of error it has. */
const NOT_NOW = isDebians ? /^UNKNOWN: / : /^FAILED_PRECONDITION: /;

async function statusOf(api: ApiV1, containerId: string, execId = ""): Promise<string> {
  const { process } = await api.tasks.get({ containerId, execId });
  return Status[process!.status]!;
}

test("is created, runs, stays when it has exited, and is gone when it is deleted", async () => {
  const { daemon, api } = containerd;
  await using task = await createTask(daemon, api, {
    name: "life",
    args: ["sh", "-c", "echo out; echo err >&2; exit 7"],
    stdio: true,
  });
  expect(task.pid).toBeGreaterThan(0);
  expect(await statusOf(api, task.id)).toBe("CREATED");
  expect((await api.tasks.listPids({ containerId: task.id })).processes.map(({ pid }) => pid)).toContain(task.pid);
  expect(await task.start()).toBe(task.pid);
  const { exitStatus, exitedAt } = await task.wait();
  expect(exitStatus).toBe(7);
  expect(await task.output()).toEqual({ stdout: "out\n", stderr: "err\n" });
  const { process } = await api.tasks.get({ containerId: task.id });
  expect(process).toMatchObject({ id: task.id, pid: task.pid, status: Status.STOPPED });
  expect(process).toMatchObject({ exitStatus: 7, exitedAt, stdout: task.stdio.paths.stdout });
  expect(await task.delete()).toEqual({ id: "", pid: task.pid, exitStatus: 7, exitedAt });
  expect(await refusal(api.tasks.get({ containerId: task.id }))).toContain(`NOT_FOUND: task ${task.id} not found`);
  expect(await refusal(task.delete())).toMatch(/^NOT_FOUND: /);
  expect(await refusal(task.wait())).toMatch(/^NOT_FOUND: /);
});

test("an exec is added, runs, stays when it has exited, and is gone when it is deleted", async () => {
  const { daemon, api } = containerd;
  await using task = await startTask(daemon, api, { name: "exec", args: ["sleep", "1000"] });
  using exec = await task.exec({ execId: "e", args: ["sh", "-c", "echo out; exit 3"], stdio: true });
  expect(await statusOf(api, task.id, "e")).toBe("CREATED");
  const pid = await exec.start();
  expect(pid).toBeGreaterThan(0);
  const { exitStatus, exitedAt } = await exec.wait();
  expect(exitStatus).toBe(3);
  expect(await statusOf(api, task.id, "e")).toBe("STOPPED");
  expect(await exec.delete()).toEqual({ id: "e", pid, exitStatus: 3, exitedAt });
  expect(await refusal(api.tasks.get({ containerId: task.id, execId: "e" }))).toMatch(/^NOT_FOUND: /);
  using other = await task.exec({ execId: "e", args: ["true"] });
  await other.delete();
  expect(await refusal(task.delete())).toMatch(NOT_NOW);
  expect(await statusOf(api, task.id)).toBe("RUNNING");
  await task.kill();
  expect(await task.exit()).toBe(137);
});

test("is paused and resumed", async () => {
  const { daemon, api } = containerd;
  await using task = await startTask(daemon, api, { name: "pause", args: ["sleep", "1000"] });
  const { id: containerId } = task;
  await api.tasks.pause({ containerId });
  expect(await statusOf(api, containerId)).toBe("PAUSED");
  await api.tasks.resume({ containerId });
  expect(await statusOf(api, containerId)).toBe("RUNNING");
});

test("one that was never started can be killed, and deleted", async () => {
  const { daemon, api } = containerd;
  await using killed = await createTask(daemon, api, { name: "killed", args: ["true"] });
  await killed.kill();
  expect(await killed.exit()).toBe(137);
  expect(await statusOf(api, killed.id)).toBe("STOPPED");
  expect((await killed.delete()).exitStatus).toBe(137);
  await using deleted = await createTask(daemon, api, { name: "deleted", args: ["true"] });
  await deleted.delete();
  expect(await refusal(api.tasks.get({ containerId: deleted.id }))).toMatch(/^NOT_FOUND: /);
});

test("the same id in another namespace is another task", async () => {
  const { daemon, api } = containerd;
  const other = api.in("other");
  // As clients do: a runtime names a cgroup for which nobody asks after the id alone.
  const within = (namespace: string) => ({
    name: "same",
    args: ["sleep", "1000"],
    spec: (spec: Spec) => {
      spec.linux.cgroupsPath = `/${namespace}/${daemon.id("same")}`;
    },
  });
  await using one = await startTask(daemon, api, within("test"));
  await using two = await createTask(daemon, other, within("other"));
  expect(two.id).toBe(one.id);
  expect((await api.tasks.list()).tasks.map(({ pid }) => pid)).toContain(one.pid);
  expect((await other.tasks.list()).tasks.map(({ pid }) => pid)).toEqual([two.pid]);
  await two.delete();
  expect(await statusOf(api, one.id)).toBe("RUNNING");
});

test("of two who create the same task at once one is told that it exists", async () => {
  const { daemon, api } = containerd;
  const containerId = await createContainer(daemon, api, { name: "twice", args: ["true"] });
  const answers = await Promise.allSettled([api.tasks.create({ containerId }), api.tasks.create({ containerId })]);
  const failed = answers.filter(({ status }) => status === "rejected");
  expect(failed).toHaveLength(1);
  const { reason } = failed[0] as PromiseRejectedResult;
  // containerd 1.6 notices it when its second shim starts.
  if (!isDebians) expect(reason.details).toBe(`task ${containerId}: already exists`);
  await api.tasks.delete({ containerId });
  await api.containers.delete({ id: containerId });
});

test("what is done twice, too early or too late is refused", async () => {
  const { daemon, api } = containerd;
  await using task = await createTask(daemon, api, { name: "order", args: ["sleep", "1000"] });
  const { id: containerId } = task;
  expect(await refusal(api.tasks.pause({ containerId }))).toMatch(NOT_NOW);
  await task.start();
  expect(await refusal(task.start())).toMatch(NOT_NOW);
  expect(await refusal(api.tasks.create({ containerId }))).toMatch(/^ALREADY_EXISTS: /);
  const exec = await task.exec({ execId: "e", args: ["sleep", "1000"] });
  expect(await refusal(task.exec({ execId: "e", args: ["true"] }))).toMatch(/^ALREADY_EXISTS: /);
  // The name of the directory that the init's files are in.
  if (!isDebians) expect(await refusal(task.exec({ execId: "init", args: ["true"] }))).toMatch(/^ALREADY_EXISTS: /);
  expect(await refusal(exec.kill())).toBe("FAILED_PRECONDITION: process not created: failed precondition");
  await exec.start();
  expect(await refusal(exec.start())).toMatch(NOT_NOW);
  expect(await refusal(exec.delete())).toMatch(NOT_NOW);
  const added = await task.exec({ execId: "added", args: ["true"] });
  // containerd 1.6 never answers.
  const neverStarted = isDebians ? undefined : refusal(added.wait());
  await task.kill();
  expect(await task.exit()).toBe(137);
  expect(await exec.exit()).toBe(137);
  if (neverStarted !== undefined) expect(await neverStarted).toMatch(/^NOT_FOUND: /);
  expect(await refusal(task.kill())).toBe("NOT_FOUND: process already finished: not found");
  expect(await refusal(exec.kill())).toBe("NOT_FOUND: process already finished: not found");
  expect(await refusal(added.start())).toMatch(NOT_NOW);
  expect(await refusal(task.exec({ execId: "late", args: ["true"] }))).toMatch(NOT_NOW);
  expect(await refusal(task.start())).toMatch(NOT_NOW);
  expect(await refusal(api.tasks.pause({ containerId }))).toMatch(NOT_NOW);
  expect((await api.tasks.listPids({ containerId })).processes).toEqual([]);
  await exec.delete();
  expect(await refusal(exec.wait())).toMatch(/^NOT_FOUND: /);
  await task.delete();
  for (const call of [task.start(), task.kill(), task.wait(), task.delete(), added.start(), added.delete()])
    expect(await refusal(call)).toContain(`NOT_FOUND: task ${containerId} not found`);
});

test("a signal for all reaches every process of the container", async () => {
  const { daemon, api } = containerd;
  const trap = (action: string) => ["sh", "-c", `trap '${action}' TERM; echo ready; while :; do sleep 0.1; done`];
  // Its end would be that of all others.
  await using task = await startTask(daemon, api, { name: "all", args: trap("echo again"), stdio: true });
  using exec = await task.exec({ execId: "e", args: trap("exit 5"), stdio: true });
  const pid = await exec.start();
  await task.printed("ready");
  await exec.printed("ready");
  const { processes } = await api.tasks.listPids({ containerId: task.id });
  const details = processes.find((process) => process.pid === pid)?.info;
  expect(details?.value.toString("latin1")).toContain("e");
  await api.tasks.kill({ containerId: task.id, signal: 15, all: true });
  expect(await exec.exit()).toBe(5);
  await task.printed("ready\nagain\n");
  await api.tasks.kill({ containerId: task.id, signal: 9, all: true });
  expect(await task.exit()).toBe(137);
  expect((await task.output()).stdout).toBe("ready\nagain\n");
});

test("the longest names, with a terminal", async () => {
  const { daemon, api } = containerd;
  const name = "n".repeat(76 - daemon.id("").length);
  const long = api.in("n".repeat(76));
  await using task = await startTask(daemon, long, { name, args: ["cat"], terminal: true, stdio: true });
  using exec = await task.exec({ execId: "e".repeat(76), args: ["tty"], terminal: true, stdio: true });
  await exec.start();
  await exec.printed("/dev/pts/");
  expect(await exec.exit()).toBe(0);
  await long.tasks.resizePty({ containerId: task.id, width: 100, height: 30 });
  await task.kill();
  expect(await task.exit()).toBe(137);
});

test("its input ends when CloseIO says so", async () => {
  const { daemon, api } = containerd;
  await using task = await startTask(daemon, api, { name: "input", args: ["wc", "-c"], stdio: true });
  task.stdio.stdin.end("12345");
  await api.tasks.closeIo({ containerId: task.id, stdin: true });
  expect(await task.exit()).toBe(0);
  expect((await task.output()).stdout.trim()).toBe("5");
});
