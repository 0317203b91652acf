/** Tasks of containerd 1.x's API, from Create to Delete. */
import { expect, test } from "vitest";
import { ProcessDetails } from "../../src/proto/containerd/types/runc/options/oci.js";
import { Status } from "../../src/proto/containerd/types/task/task.js";
import { type Spec, specification } from "../harness/bundle.js";
import { isDebians, useContainerd1, WRONG_STATE } from "../harness/containerd1.js";
import { isRunning, processesOf } from "../harness/processes.js";
import {
  addExec,
  createContainer,
  createTask,
  json,
  removeContainer,
  startTask,
  type TestTask,
} from "../harness/task.js";
import { type ApiV1, refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const containerd = useContainerd1();

/** The exit of what has not exited: Go's zero time, for which a Go client takes it also when it is not there. */
const NEVER = isDebians ? { seconds: -62_135_596_800n, nanos: 0 } : undefined;

const EXEC = json("Process", specification({ args: ["true"] }).process);

test("a task and an exec, from Create to Delete: states, pids, exits and events fit together", async () => {
  const { daemon, api } = containerd;
  using events = await api.subscribe();
  await using task = await createTask(daemon, api, { name: "whole", args: ["sleep", "1000"], stdio: true });
  const { id, pid } = task;
  const state = async (execId = "") => (await api.tasks.get({ containerId: id, execId })).process!;
  // containerd 1.6 says the container's id as the process's alone.
  const init = {
    containerId: isDebians ? "" : id,
    id,
    pid,
    terminal: false,
    exitStatus: 0,
    exitedAt: NEVER,
    ...task.stdio.paths,
  };
  expect(pid).toBeGreaterThan(0);
  expect(await state()).toEqual({ ...init, status: Status.CREATED });
  expect((await api.tasks.listPids({ containerId: id })).processes.map((process) => process.pid)).toEqual([pid]);
  expect(await task.start()).toBe(pid);
  expect(await state()).toEqual({ ...init, status: Status.RUNNING });

  using exec = await task.exec({ execId: "e", args: ["sh", "-c", "echo out; echo err >&2; exit 4"], stdio: true });
  expect(await state("e")).toMatchObject({ id: "e", pid: 0, status: Status.CREATED, exitedAt: NEVER });
  const execPid = await exec.start();
  expect(execPid).not.toBe(pid);
  expect(await exec.exit()).toBe(4);
  expect(await exec.output()).toEqual({ stdout: "out\n", stderr: "err\n" });
  const execExit = await exec.wait();
  expect(await state("e")).toMatchObject({ id: "e", pid: execPid, status: Status.STOPPED, ...execExit });
  expect(await exec.delete()).toEqual({ id: "e", pid: execPid, ...execExit });

  await api.tasks.pause({ containerId: id });
  expect(await state()).toEqual({ ...init, status: Status.PAUSED });
  await api.tasks.resume({ containerId: id });
  expect(await state()).toEqual({ ...init, status: Status.RUNNING });

  await task.kill();
  const exit = await task.wait();
  expect(exit.exitStatus).toBe(137);
  expect(await state()).toEqual({ ...init, ...exit, status: Status.STOPPED });
  expect(await api.tasks.listPids({ containerId: id })).toEqual({ processes: [] });
  expect((await api.tasks.list()).tasks.find((listed) => listed.id === id)).toEqual(await state());
  expect(await task.delete()).toEqual({ id: "", pid, ...exit });
  expect(await refusal(api.tasks.get({ containerId: id }))).toMatch(/^NOT_FOUND: .*not found/);

  const told = (await events.waitFor("/tasks/delete", { containerId: id })).event;
  expect(told).toMatchObject({ containerId: id, pid, ...exit });
  expect((await events.waitFor("/tasks/exit", { id: "e" })).event).toEqual({
    containerId: id,
    id: "e",
    pid: execPid,
    ...execExit,
  });
  expect((await events.waitFor("/tasks/exit", { id })).event).toEqual({ containerId: id, id, pid, ...exit });
  expect((await events.waitFor("/tasks/create", { containerId: id })).event).toMatchObject({
    pid,
    rootfs: [],
    io: { ...task.stdio.paths, terminal: false },
  });
  const started = ["create", "start", "exec-added e", "exec-started e", "exit e 4"];
  expect(events.told(id)).toEqual(["/containers/create", ...started, "paused", "resumed", `exit ${id} 137`, "delete"]);
});

test.each([0, 3, 255])("exit status %i", async (status) => {
  const { daemon, api } = containerd;
  await using task = await startTask(daemon, api, { name: `exit-${status}`, args: ["sh", "-c", `exit ${status}`] });
  expect(await task.exit()).toBe(status);
});

test("a process that a signal ends: 128 and its number", async () => {
  const { daemon, api } = containerd;
  await using task = await startTask(daemon, api, { name: "signals", args: ["sleep", "1000"] });
  for (const signal of [1, 15, 9]) {
    using exec = await task.exec({ execId: `e${signal}`, args: ["sleep", "1000"] });
    await exec.start();
    await exec.kill(signal);
    expect(await exec.exit()).toBe(128 + signal);
  }
});

test("one Wait before the start, and many, get the exit", async () => {
  const { daemon, api } = containerd;
  await using task = await createTask(daemon, api, { name: "waits", args: ["sh", "-c", "exit 5"] });
  const waits = Array.from({ length: 20 }, () => task.wait());
  await task.start();
  const exits = await Promise.all(waits);
  expect(exits[0]!.exitStatus).toBe(5);
  for (const exit of exits) expect(exit).toEqual(await task.wait());
});

test("a task that was never started: deleted without an exit, and its container can have another one", async () => {
  const { daemon, api } = containerd;
  using events = await api.subscribe();
  await using task = await createTask(daemon, api, { name: "unstarted", args: ["sleep", "1000"] });
  const { id, pid } = task;
  // Ours has ended it, and tells that as its exit; containerd 1.6 forgets it.
  expect(await task.delete()).toMatchObject(
    isDebians ? { pid, exitStatus: 0, exitedAt: NEVER } : { pid, exitStatus: 137 },
  );
  await eventually(() => !isRunning(pid));
  const again = await api.tasks.create({ containerId: id });
  await api.tasks.start({ containerId: id });
  await api.tasks.kill({ containerId: id, signal: 9 });
  expect((await api.tasks.wait({ containerId: id })).exitStatus).toBe(137);
  await api.tasks.delete({ containerId: id });
  await events.waitFor("/tasks/delete", { containerId: id, pid: again.pid });
  // Whether the end of what was never started is an exit is not said: containerd tells one when it comes to it.
  const [first, second] = splitAt(events.told(id), "delete");
  expect(first!.filter((line) => !line.startsWith("exit"))).toEqual(["/containers/create", "create", "delete"]);
  expect(second).toEqual(["create", "start", `exit ${id} 137`, "delete"]);
});

/** The lists that end with an item. */
function splitAt(items: string[], end: string): string[][] {
  const index = items.indexOf(end) + 1;
  return index === 0 || items.length === 0 ? [items] : [items.slice(0, index), ...splitAt(items.slice(index), end)];
}

test("a kill of a task that was never started ends it, and the exit is told", async () => {
  const { daemon, api } = containerd;
  using events = await api.subscribe();
  await using task = await createTask(daemon, api, { name: "killed-created", args: ["sleep", "1000"] });
  const wait = task.wait();
  await task.kill();
  expect((await wait).exitStatus).toBe(137);
  await events.waitFor("/tasks/exit", { id: task.id, exitStatus: 137 });
  expect(await refusal(task.start())).toMatch(WRONG_STATE);
  expect(await task.delete()).toMatchObject({ exitStatus: 137 });
});

test("execs: one that is only added, one before the init's start, and each name again after its delete", async () => {
  const { daemon, api } = containerd;
  await using task = await createTask(daemon, api, { name: "execs", args: ["sleep", "1000"] });
  using early = await task.exec({ execId: "e", args: ["sh", "-c", "exit 6"] });
  await early.start();
  expect(await early.exit()).toBe(6);
  expect(await refusal(task.exec({ execId: "e", args: ["true"] }))).toMatch(/^ALREADY_EXISTS: .*e.*already exists/);
  await early.delete();
  using added = await task.exec({ execId: "e", args: ["true"] });
  expect(await refusal(added.kill())).toBe("FAILED_PRECONDITION: process not created: failed precondition");
  expect(await added.delete()).toEqual({ id: "e", pid: 0, exitStatus: 0, exitedAt: NEVER });
  expect(await refusal(added.start())).toMatch(/^NOT_FOUND: .*process does not exist e: not found/);
  await task.start();
  using late = await task.exec({ execId: "e", args: ["sh", "-c", "exit 7"] });
  await late.start();
  expect(await late.exit()).toBe(7);
});

test("the init's end ends its execs, and their exits are told first", async () => {
  const { daemon, api } = containerd;
  using events = await api.subscribe();
  await using task = await startTask(daemon, api, { name: "ends-execs", args: ["sleep", "1000"] });
  const { id } = task;
  const execs = ["a", "b", "c"];
  for (const execId of execs) await (await task.exec({ execId, args: ["sleep", "1000"] })).start();
  await task.kill();
  await events.waitFor("/tasks/exit", { id });
  const exits = events.told(id).filter((line) => line.startsWith("exit"));
  expect(exits.slice(0, 3).sort()).toEqual(execs.map((execId) => `exit ${execId} 137`));
  expect(exits.slice(3)).toEqual([`exit ${id} 137`]);
  for (const execId of execs) {
    expect((await api.tasks.get({ containerId: id, execId })).process).toMatchObject({
      status: Status.STOPPED,
      exitStatus: 137,
    });
  }
  expect(await task.delete()).toMatchObject({ exitStatus: 137 });
});

test("kill with all=true reaches every process; signal 0 only asks", async () => {
  const { daemon, api } = containerd;
  await using task = await startTask(daemon, api, {
    name: "kill-all",
    args: ["sh", "-c", "sleep 1000 & sleep 1001 & trap '' TERM; echo up; while :; do sleep 1002; done"],
    stdio: true,
  });
  const { id } = task;
  await task.printed("up");
  await api.tasks.kill({ containerId: id, signal: 0 });
  await api.tasks.kill({ containerId: id, signal: 15, all: true });
  const names = () => processesOf(id).map(({ command }) => command);
  await eventually(() => !names().includes("sleep 1000") && !names().includes("sleep 1001"));
  expect((await api.tasks.get({ containerId: id })).process!.status).toBe(Status.RUNNING);
  await task.kill();
  expect(await task.exit()).toBe(137);
  await api.tasks.kill({ containerId: id, signal: 9, all: true });
});

test("ListPids names the exec that a process is", async () => {
  const { daemon, api } = containerd;
  await using task = await startTask(daemon, api, { name: "pids", args: ["sleep", "1000"] });
  using exec = await task.exec({ execId: "the-exec", args: ["sleep", "1000"] });
  const execPid = await exec.start();
  const { processes } = await api.tasks.listPids({ containerId: task.id });
  expect(processes.map(({ pid }) => pid).sort()).toEqual([task.pid, execPid].sort());
  const info = processes.find(({ pid }) => pid === execPid)!.info!;
  expect(info.typeUrl).toBe("containerd.runc.v1.ProcessDetails");
  expect(ProcessDetails.decode(info.value)).toEqual({ execId: "the-exec" });
  expect(processes.find(({ pid }) => pid === task.pid)!.info).toBeUndefined();
});

test("CloseIO ends the stdin of a process", async () => {
  const { daemon, api } = containerd;
  await using task = await startTask(daemon, api, { name: "close-io", args: ["cat"], stdio: true });
  task.stdio.stdin.write("some text\n");
  await task.printed("some text");
  using exec = await task.exec({ execId: "e", args: ["cat"], stdio: true });
  await exec.start();
  exec.stdio.stdin.end("of the exec\n");
  await api.tasks.closeIo({ containerId: task.id, execId: "e", stdin: true });
  expect(await exec.exit()).toBe(0);
  expect(await exec.output()).toEqual({ stdout: "of the exec\n", stderr: "" });
  task.stdio.stdin.end();
  await api.tasks.closeIo({ containerId: task.id, stdin: true });
  expect(await task.exit()).toBe(0);
  expect((await task.output()).stdout).toBe("some text\n");
});

test("a namespace knows nothing of another one; the same id may be in both", async () => {
  const { daemon, api } = containerd;
  const other = daemon.v1("other");
  using events = await other.subscribe('namespace=="other"');
  await using task = await startTask(daemon, api, { name: "both", args: ["sleep", "1000"] });
  const { id } = task;
  expect((await other.tasks.list()).tasks).toEqual([]);
  expect((await other.containers.list()).containers).toEqual([]);
  for (const call of [other.tasks.get, other.tasks.kill, other.tasks.delete, other.tasks.wait])
    expect(await refusal(call({ containerId: id }))).toBe(
      `NOT_FOUND: container "${id}" in namespace "other": not found`,
    );
  // containerd 1.6's runtime makes the same cgroup for both, unless the specification names one.
  const spec = (own: Spec) => {
    own.linux.cgroupsPath = `/${id}-other`;
  };
  await using second = await startTask(daemon, other, { name: "both", args: ["sleep", "1000"], spec });
  expect(second.pid).not.toBe(task.pid);
  await second.kill();
  expect(await second.exit()).toBe(137);
  expect((await api.tasks.get({ containerId: id })).process!.status).toBe(Status.RUNNING);
  await events.waitFor("/tasks/exit", { id });
  expect(new Set(events.events.map(({ namespace }) => namespace))).toEqual(new Set(["other"]));
  expect(events.events.every(({ event }) => event.pid === undefined || event.pid === second.pid)).toBe(true);
});

test("names of 76 characters: a namespace, a container, an exec", async () => {
  const { daemon } = containerd;
  const long = (text: string) => text.padEnd(76, "x");
  const api = daemon.v1(long("namespace"));
  await using task = await startTask(daemon, api, {
    name: long(daemon.id("")).slice(daemon.id("").length),
    args: ["sh", "-c", "cat; exit 3"],
    stdio: true,
  });
  expect(task.id).toHaveLength(76);
  using exec = await task.exec({ execId: long("exec"), args: ["echo", "hello"], stdio: true });
  await exec.start();
  expect(await exec.exit()).toBe(0);
  expect((await exec.output()).stdout).toBe("hello\n");
  task.stdio.stdin.end("in");
  await api.tasks.closeIo({ containerId: task.id, stdin: true });
  expect(await task.exit()).toBe(3);
  expect((await task.output()).stdout).toBe("in");
});

test("16 tasks are created, started, given an exec, killed and deleted at once", async () => {
  const { daemon, api } = containerd;
  using events = await api.subscribe('topic~="/tasks/"');
  const all = Array.from({ length: 16 }, async (_, n) => {
    await using task = await startTask(daemon, api, { name: `many-${n}`, args: ["sleep", "1000"] });
    using exec = await task.exec({ execId: "e", args: ["sh", "-c", `exit ${n}`] });
    await exec.start();
    expect(await exec.exit()).toBe(n);
    await exec.delete();
    await task.kill();
    expect(await task.exit()).toBe(137);
    await task.delete();
    await events.waitFor("/tasks/delete", { containerId: task.id });
    return [task.id, n] as const;
  });
  for (const [id, n] of await Promise.all(all)) {
    const started = ["create", "start", "exec-added e", "exec-started e"];
    expect(events.told(id)).toEqual([...started, `exit e ${n}`, `exit ${id} 137`, "delete"]);
  }
});

test("tasks in each state outlive the daemon, and go on from there", async () => {
  const { daemon } = containerd;
  const before = daemon.v1("test");
  const states = ["created", "running", "paused", "stopped"];
  const ids: string[] = [];
  for (const state of states) {
    const options = { name: `outlives-${state}`, args: ["sleep", "1000"] };
    const task = await createTask(daemon, before, options);
    ids.push(task.id);
    if (state !== "created") await task.start();
    if (state === "paused") await before.tasks.pause({ containerId: task.id });
    if (state === "stopped") {
      await task.kill();
      await task.wait();
    }
  }
  const get = async (api: ApiV1) => await Promise.all(ids.map((containerId) => api.tasks.get({ containerId })));
  const known = await get(before);
  await daemon.restart({ kill: true });
  const { api } = containerd;
  expect(await get(api)).toEqual(known);
  const [created, , paused] = ids;
  expect(await api.tasks.start({ containerId: created! })).toEqual({ pid: known[0]!.process!.pid });
  await api.tasks.resume({ containerId: paused! });
  for (const containerId of ids.slice(0, 3)) {
    await addExec(daemon, api, containerId, { execId: "e", args: ["sh", "-c", "exit 9"] }).then((exec) => exec.start());
    expect((await api.tasks.wait({ containerId, execId: "e" })).exitStatus).toBe(9);
    await api.tasks.kill({ containerId, signal: 9 });
    expect((await api.tasks.wait({ containerId })).exitStatus).toBe(137);
  }
  for (const containerId of ids) {
    expect(await api.tasks.delete({ containerId })).toMatchObject({ exitStatus: 137 });
    await api.containers.delete({ id: containerId });
  }
});

/** What is not possible in each state of a task, and what the error says of it. */
const REFUSED: Record<string, (readonly [keyof ApiV1["tasks"], RegExp])[]> = {
  created: [
    ["pause", /created/],
    ["resume", /created/],
  ],
  running: [
    ["start", /cannot start a running process/],
    ["delete", /cannot delete a running process/],
    ["resume", /running/],
  ],
  paused: [
    ["start", /cannot start a (paused|running) process/],
    ["delete", /cannot delete a paused process/],
    ["pause", /paused/],
    ["exec", /paused/],
  ],
  stopped: [
    ["start", /cannot start a stopped process/],
    ["pause", /stopped/],
    ["resume", /stopped/],
    ["exec", /stopped/],
    ["update", /stopped/],
    ["checkpoint", /stopped/],
  ],
};

async function bring(task: TestTask, api: ApiV1, state: string): Promise<void> {
  if (state === "created") return;
  await task.start();
  if (state === "paused") await api.tasks.pause({ containerId: task.id });
  if (state === "stopped") {
    await task.kill();
    await task.wait();
  }
}

test.each(Object.entries(REFUSED))("what a %s task refuses", async (state, calls) => {
  const { daemon, api } = containerd;
  await using task = await createTask(daemon, api, { name: `refuses-${state}`, args: ["sleep", "1000"] });
  await bring(task, api, state);
  const call = (method: keyof ApiV1["tasks"]) => {
    const more = { exec: { execId: "e", spec: EXEC }, update: { resources: json("LinuxResources", {}) } };
    const request = { containerId: task.id, ...more[method as keyof typeof more] };
    return (api.tasks[method] as (request: object) => Promise<unknown>)(request);
  };
  for (const [method, words] of calls) {
    const text = await refusal(call(method));
    expect(text, method).toMatch(words);
    expect(text, method).toMatch(WRONG_STATE);
  }
  if (state === "paused") await api.tasks.resume({ containerId: task.id });
});

test("what an exec that has stopped refuses, and what one that runs", async () => {
  const { daemon, api } = containerd;
  await using task = await startTask(daemon, api, { name: "exec-refuses", args: ["sleep", "1000"] });
  using exec = await task.exec({ execId: "e", args: ["sleep", "1000"] });
  await exec.start();
  expect(await refusal(exec.start())).toMatch(new RegExp(`^${WRONG_STATE}: .*cannot start a running process`));
  expect(await refusal(exec.delete())).toMatch(new RegExp(`^${WRONG_STATE}: .*cannot delete a running process`));
  await exec.kill();
  await exec.wait();
  expect(await refusal(exec.start())).toMatch(new RegExp(`^${WRONG_STATE}: .*cannot start a stopped process`));
  expect(await refusal(exec.kill())).toBe("NOT_FOUND: process already finished: not found");
  await exec.delete();
  for (const gone of [exec.wait, exec.kill, exec.delete, exec.start]) {
    expect(await refusal(gone())).toBe("NOT_FOUND: process does not exist e: not found");
  }
});

test("what is not there: a container, a task, an exec", async () => {
  const { daemon, api } = containerd;
  const containerId = daemon.id("nowhere");
  const calls = ["start", "delete", "deleteProcess", "get", "kill", "exec", "resizePty", "closeIo"] as const;
  const more = ["pause", "resume", "listPids", "checkpoint", "update", "wait"] as const;
  const call = (name: (typeof calls)[number] | (typeof more)[number], execId = "") => {
    const more = { exec: { execId: "e", spec: EXEC }, update: { resources: json("LinuxResources", {}) } };
    const request = { containerId, execId, ...more[name as keyof typeof more] };
    return refusal((api.tasks[name] as (request: object) => Promise<unknown>)(request));
  };
  for (const name of [...calls, ...more]) {
    expect(await call(name), name).toBe(`NOT_FOUND: container "${containerId}" in namespace "test": not found`);
  }
  await createContainer(daemon, api, { name: "nowhere", args: ["sleep", "1000"] });
  for (const name of [...calls, ...more]) {
    expect(await call(name), name).toMatch(new RegExp(`^NOT_FOUND: task ${containerId} not found`));
  }
  expect(await api.tasks.metrics({ filters: [`id==${containerId}`] })).toEqual({ metrics: [] });
  await api.tasks.create({ containerId });
  await api.tasks.start({ containerId });
  for (const name of ["start", "deleteProcess", "get", "kill", "resizePty", "closeIo", "wait"] as const) {
    expect(await call(name, "nope"), name).toBe("NOT_FOUND: process does not exist nope: not found");
  }
  await removeContainer(api, containerId);
});

test("a wait for an exec that is never started ends with its task", async () => {
  const { daemon, api } = containerd;
  await using task = await startTask(daemon, api, { name: "never", args: ["sleep", "1000"] });
  // The name of the directory that the init's files are in: containerd takes it.
  if (!isDebians) expect(await refusal(task.exec({ execId: "init", args: ["true"] }))).toMatch(/^ALREADY_EXISTS: /);
  using added = await task.exec({ execId: "added", args: ["true"] });
  // containerd 1.6 waits for ever.
  const wait = isDebians ? undefined : refusal(added.wait());
  await task.kill();
  expect(await task.exit()).toBe(137);
  if (wait !== undefined) expect(await wait).toMatch(/^NOT_FOUND: /);
});

test("of two who create the same task at once one is told that it exists", async () => {
  const { daemon, api } = containerd;
  const containerId = await createContainer(daemon, api, { name: "twice", args: ["true"] });
  const answers = await Promise.allSettled([api.tasks.create({ containerId }), api.tasks.create({ containerId })]);
  const failed = answers.filter(({ status }) => status === "rejected") as PromiseRejectedResult[];
  expect(failed).toHaveLength(1);
  expect(await refusal(Promise.reject(failed[0]!.reason))).toMatch(
    // containerd 1.6 has both make the bundle, and tells of what the second one finds.
    isDebians ? /exist/ : /^ALREADY_EXISTS: task .* already exists/,
  );
  await removeContainer(api, containerId);
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
