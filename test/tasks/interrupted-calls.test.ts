/** Calls of containerd 1.x's API whose caller leaves, or whose runtime fails, in the middle: nothing is left between two states. */
import { afterEach, beforeEach, expect, test } from "vitest";
import { Status } from "../../src/proto/containerd/types/task/task.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { type Fault, type RuntimeWrapper, type Subcommand, wrapRuntime } from "../harness/runtime-wrapper.js";
import { createContainer, createTask, startTask } from "../harness/task.js";
import { type ApiV1, refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

let other: TestDaemon;
let daemon: TestDaemon;
let api: ApiV1;
beforeEach(async () => {
  other = await startDaemon();
});
afterEach(async () => {
  await daemon[Symbol.asyncDispose]();
  await other[Symbol.asyncDispose]();
});

/** A daemon whose runtime has a fault: a wrapper, which the shim has start its containers, too. */
async function withFault(at: Subcommand, fault: Fault, flags: string[] = []): Promise<RuntimeWrapper> {
  const wrapper = wrapRuntime(other.dir, "wrapper", at, fault);
  daemon = await startDaemon({ flags: ["--runtime", wrapper.path, ...flags] });
  api = daemon.v1("test");
  return wrapper;
}

async function statusOf(containerId: string, execId = ""): Promise<string> {
  const { process } = await api.tasks.get({ containerId, execId });
  return Status[process!.status]!;
}

test("Create: nothing is left, and it can be created again", async () => {
  const wrapper = await withFault("create", { kind: "hold" });
  const containerId = await createContainer(daemon, api, { name: "c", args: ["true"] });
  wrapper.on();
  const caller = new AbortController();
  const create = refusal(api.tasks.create({ containerId }, { signal: caller.signal }));
  await wrapper.called("create");
  caller.abort();
  expect(await create).toMatch(/^CANCELLED: /);
  await eventually(() => daemon.leftovers().length === 0, { what: "the end of what was begun" });
  wrapper.off();
  expect(await refusal(api.tasks.get({ containerId }))).toMatch(/^NOT_FOUND: /);
  await api.tasks.create({ containerId });
  await api.tasks.delete({ containerId });
  await api.containers.delete({ id: containerId });
  await daemon.expectNothingLeft();
});

test("Start: it runs all the same", async () => {
  const wrapper = await withFault("start", { kind: "hold" });
  await using task = await createTask(daemon, api, { name: "c", args: ["sleep", "1000"] });
  wrapper.on();
  const caller = new AbortController();
  const start = refusal(api.tasks.start({ containerId: task.id }, { signal: caller.signal }));
  await wrapper.called("start");
  expect(await refusal(task.start())).toMatch(/^FAILED_PRECONDITION: /);
  expect(await refusal(task.delete())).toMatch(/^FAILED_PRECONDITION: /);
  caller.abort();
  expect(await start).toMatch(/^CANCELLED: /);
  wrapper.off();
  await eventually(async () => (await statusOf(task.id)) === "RUNNING", { what: "the task to run" });
});

test("Start of an exec: it runs all the same", async () => {
  const wrapper = await withFault("exec", { kind: "hold" });
  await using task = await startTask(daemon, api, { name: "c", args: ["sleep", "1000"] });
  const exec = await task.exec({ execId: "e", args: ["sh", "-c", "exit 3"] });
  wrapper.on(task.id);
  const caller = new AbortController();
  const start = refusal(api.tasks.start({ containerId: task.id, execId: "e" }, { signal: caller.signal }));
  await wrapper.called("exec");
  caller.abort();
  expect(await start).toMatch(/^CANCELLED: /);
  wrapper.off();
  expect(await exec.exit()).toBe(3);
});

test("a start that fails leaves a task that has stopped, and can be deleted", async () => {
  const wrapper = await withFault("start", { kind: "fail", message: "made to fail" });
  await using task = await createTask(daemon, api, { name: "c", args: ["sleep", "1000"] });
  const wait = task.wait();
  wrapper.on();
  expect(await refusal(task.start())).toMatch(/^UNKNOWN: .*made to fail/s);
  expect(await statusOf(task.id)).toBe("STOPPED");
  expect((await wait).exitStatus).toBe(137);
  expect(await refusal(task.start())).toMatch(/^FAILED_PRECONDITION: /);
  expect((await task.delete()).exitStatus).toBe(137);
  await api.containers.delete({ id: task.id });
  await daemon.expectNothingLeft();
});

test("a start that hangs ends, and its task with it", async () => {
  const wrapper = await withFault("start", { kind: "hang" }, ["--start-timeout", "1s"]);
  await using task = await createTask(daemon, api, { name: "c", args: ["sleep", "1000"] });
  wrapper.on();
  expect(await refusal(task.start())).toMatch(/^DEADLINE_EXCEEDED: /);
  expect(await task.exit()).toBe(137);
  await task.delete();
  await api.containers.delete({ id: task.id });
  await daemon.expectNothingLeft();
});

test("an exec whose start fails has stopped, and can be deleted", async () => {
  const wrapper = await withFault("exec", { kind: "fail", message: "made to fail" });
  await using task = await startTask(daemon, api, { name: "c", args: ["sleep", "1000"] });
  const exec = await task.exec({ execId: "e", args: ["true"] });
  wrapper.on();
  expect(await refusal(exec.start())).toMatch(/^UNKNOWN: /);
  expect(await statusOf(task.id, "e")).toBe("STOPPED");
  wrapper.off();
  expect(await refusal(exec.start())).toMatch(/^FAILED_PRECONDITION: /);
  await exec.delete();
  const again = await task.exec({ execId: "e", args: ["true"] });
  await again.start();
  expect(await again.exit()).toBe(0);
});
