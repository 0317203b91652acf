/** Calls of containerd 1.x's API whose caller leaves, or whose runtime fails, in the middle: nothing is left between two states. */

import { afterEach, beforeEach, expect, test } from "vitest";
import { CheckpointOptions } from "../../src/proto/containerd/types/runc/options/oci.js";
import { Status } from "../../src/proto/containerd/types/task/task.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { endingConnections } from "../harness/ending-connections.js";
import { type Fault, type RuntimeWrapper, type Subcommand, wrapRuntime } from "../harness/runtime-wrapper.js";
import { startTimeoutFlags } from "../harness/start-timeout.js";
import { createContainer, createTask, json, startTask, type TestTask } from "../harness/task.js";
import { ApiV1, refusal } from "../harness/v1.js";
import { eventually, sleep } from "../harness/wait.js";

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
  const wrapper = await withFault("start", { kind: "hang" }, await startTimeoutFlags());
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

/** The calls that have the runtime change something that runs, and what may be seen of it when their caller has left. */
const CHANGES: Record<string, { at: Subcommand; call: (task: TestTask, signal?: AbortSignal) => Promise<unknown> }> = {
  Pause: { at: "pause", call: ({ id }, signal) => api.tasks.pause({ containerId: id }, { signal }) },
  Update: {
    at: "update",
    call: ({ id }, signal) => {
      const resources = json("LinuxResources", { memory: { limit: 64 << 20 } });
      return api.tasks.update({ containerId: id, resources }, { signal });
    },
  },
  Checkpoint: {
    at: "checkpoint",
    call: ({ id }, signal) => {
      const value = Buffer.from(
        CheckpointOptions.encode(CheckpointOptions.fromPartial({ imagePath: saved() })).finish(),
      );
      const options = { typeUrl: "containerd.runc.v1.CheckpointOptions", value };
      return api.tasks.checkpoint({ containerId: id, options }, { signal });
    },
  },
};
const saved = () => `${daemon.dir}/saved`;

test.each(Object.entries(CHANGES))("%s: it was carried out or not, and can be asked for again", async (_, change) => {
  const wrapper = await withFault(change.at, { kind: "hold" });
  await using task = await startTask(daemon, api, { name: "c", args: ["sleep", "1000"] });
  wrapper.on();
  const caller = new AbortController();
  const call = refusal(change.call(task, caller.signal));
  await wrapper.called(change.at);
  caller.abort();
  expect(await call).toMatch(/^CANCELLED: /);
  wrapper.off();
  await wrapper.idle();
  if ((await statusOf(task.id)) === "PAUSED") await api.tasks.resume({ containerId: task.id });
  expect(await statusOf(task.id)).toBe("RUNNING");
  await change.call(task);
  if (change.at === "pause") {
    expect(await statusOf(task.id)).toBe("PAUSED");
    await api.tasks.resume({ containerId: task.id });
  }
  const exec = await task.exec({ execId: "e", args: ["true"] });
  await exec.start();
  expect(await exec.exit()).toBe(0);
});

test("Resume: it is paused or runs, and can be asked for again", async () => {
  const wrapper = await withFault("resume", { kind: "hold" });
  await using task = await startTask(daemon, api, { name: "c", args: ["sleep", "1000"] });
  await api.tasks.pause({ containerId: task.id });
  wrapper.on();
  const caller = new AbortController();
  const resume = refusal(api.tasks.resume({ containerId: task.id }, { signal: caller.signal }));
  await wrapper.called("resume");
  caller.abort();
  expect(await resume).toMatch(/^CANCELLED: /);
  wrapper.off();
  await wrapper.idle();
  if ((await statusOf(task.id)) === "PAUSED") await api.tasks.resume({ containerId: task.id });
  expect(await statusOf(task.id)).toBe("RUNNING");
  const exec = await task.exec({ execId: "e", args: ["true"] });
  await exec.start();
  expect(await exec.exit()).toBe(0);
});

test("Delete: it goes all the same", async () => {
  const wrapper = await withFault("delete", { kind: "hold" });
  // One that was never started is ended first, by which the runtime forgets it.
  await using task = await createTask(daemon, api, { name: "c", args: ["sleep", "1000"] });
  wrapper.on();
  const caller = new AbortController();
  const deletion = refusal(api.tasks.delete({ containerId: task.id }, { signal: caller.signal }));
  await wrapper.called("delete");
  caller.abort();
  expect(await deletion).toMatch(/^CANCELLED: /);
  wrapper.off();
  await eventually(async () => (await refusal(task.delete())).startsWith("NOT_FOUND: "), { what: "its deletion" });
  await api.containers.delete({ id: task.id });
  await daemon.expectNothingLeft();
});

/** Each call, of a task that runs and an exec that does, in a form that does no harm when it is carried out. */
const EVERY_CALL: Record<keyof ApiV1["tasks"], (calls: ApiV1["tasks"], containerId: string) => Promise<unknown>> = {
  create: (calls, containerId) => calls.create({ containerId }),
  start: (calls, containerId) => calls.start({ containerId }),
  delete: (calls, containerId) => calls.delete({ containerId }),
  deleteProcess: (calls, containerId) => calls.deleteProcess({ containerId, execId: "e" }),
  get: (calls, containerId) => calls.get({ containerId }),
  list: (calls) => calls.list(),
  kill: (calls, containerId) => calls.kill({ containerId, signal: 18 }),
  exec: (calls, containerId) => calls.exec({ containerId, execId: "e" }),
  resizePty: (calls, containerId) => calls.resizePty({ containerId, width: 80, height: 25 }),
  closeIo: (calls, containerId) => calls.closeIo({ containerId, stdin: true }),
  pause: (calls, containerId) => calls.pause({ containerId }),
  resume: (calls, containerId) => calls.resume({ containerId }),
  listPids: (calls, containerId) => calls.listPids({ containerId }),
  checkpoint: (calls, containerId) => calls.checkpoint({ containerId }),
  update: (calls, containerId) => calls.update({ containerId, resources: json("LinuxResources", {}) }),
  metrics: (calls) => calls.metrics(),
  wait: (calls, containerId) => calls.wait({ containerId }),
};

test.each(["a call that is called off", "a connection that ends"])("%s, of each kind", async (how) => {
  daemon = await startDaemon();
  api = daemon.v1("test");
  using events = await api.subscribe();
  await using connections = await endingConnections(daemon);
  await using task = await startTask(daemon, api, { name: "c", args: ["sleep", "1000"] });
  const exec = await task.exec({ execId: "e", args: ["sleep", "1000"] });
  await exec.start();
  for (const call of Object.values(EVERY_CALL)) {
    // Soon after it was sent, and later; one of these is in the middle.
    for (const delay of [0, 1, 5]) {
      const client = new ApiV1(`unix:${connections.path}`, "test");
      const caller = new AbortController();
      await client.version.version();
      const answer = call(
        new Proxy(client.tasks, {
          get: (calls, name: keyof ApiV1["tasks"]) => (request: object) =>
            (calls[name] as (...of: unknown[]) => unknown)(request, { signal: caller.signal }),
        }),
        task.id,
      ).catch(() => {});
      await sleep(delay);
      if (how === "a call that is called off") caller.abort();
      else connections.end();
      await answer;
      client.close();
    }
  }
  if ((await statusOf(task.id)) === "PAUSED") await api.tasks.resume({ containerId: task.id });
  expect([await statusOf(task.id), await statusOf(task.id, "e")]).toEqual(["RUNNING", "RUNNING"]);
  await task.kill();
  expect([await exec.exit(), await task.exit()]).toEqual([137, 137]);
  await task.delete();
  await events.waitFor("/tasks/delete", { containerId: task.id });
  const exits = events.events.filter(({ topic }) => topic === "/tasks/exit").map(({ event }) => event.id);
  expect(exits).toEqual(["e", task.id]);
  await api.containers.delete({ id: task.id });
  await daemon.expectNothingLeft();
});
