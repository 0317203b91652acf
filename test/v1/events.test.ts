/** What containerd 1.x's API tells of what happens, to whom, and what clients publish themselves. */
import { type ClientReadableStream, credentials, Metadata, status } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import { TaskExit } from "../../src/proto/containerd/events/task.js";
import { EventsClient, SubscribeRequest } from "../../src/proto/containerd/services/events/v1/events.js";
import type { Envelope } from "../../src/proto/containerd/types/event.js";
import type { Any } from "../../src/proto/google/protobuf/any.js";
import { isDebians, useContainerd1 } from "../harness/containerd1.js";
import { startTask } from "../harness/task.js";
import type { ApiV1, EventsV1 } from "../harness/v1.js";
import { eventually, within } from "../harness/wait.js";

const fixture = useContainerd1();

const exitOf = (containerId: string): Any => ({
  typeUrl: "containerd.events.TaskExit",
  value: Buffer.from(TaskExit.encode(TaskExit.fromPartial({ containerId, id: "e", pid: 7 })).finish()),
});
const thing: Any = { typeUrl: "test.Thing", value: Buffer.from([0xff, 0, 1]) };

/** Publishes a last event that each of them wants, and waits until all have it. */
async function seenAll(api: ApiV1, ...subscriptions: EventsV1[]): Promise<void> {
  await api.events.publish({ topic: "/test/subscribed", event: thing });
  for (const { messages } of subscriptions) {
    const before = messages.filter(({ topic }) => topic === "/test/subscribed").length;
    await eventually(() => messages.at(-1)?.topic === "/test/subscribed" && before > 0);
  }
}

describe("Publish and Forward", () => {
  test("an event goes to all namespaces, with its bytes and the time of its publication", async () => {
    const { api } = fixture;
    using other = await api.in("other").subscribe();
    const before = BigInt(Date.now() - 1) * 1_000_000n;
    await api.events.publish({ topic: "/test/bytes", event: thing });
    const { timestamp, namespace, event, type } = await other.waitFor("/test/bytes");
    expect([namespace, type, event.value]).toEqual(["test", thing.typeUrl, thing.value]);
    expect(timestamp!.seconds * 1_000_000_000n + BigInt(timestamp!.nanos)).toBeGreaterThan(before);
  });

  test("a forwarded event keeps its namespace and time", async () => {
    const { api } = fixture;
    using events = await api.subscribe();
    const timestamp = { seconds: 12n, nanos: 345 };
    await api.events.forward({ envelope: { timestamp, namespace: "elsewhere", topic: "/a/b", event: thing } });
    expect(await events.waitFor("/a/b")).toMatchObject({ namespace: "elsewhere", timestamp, type: thing.typeUrl });
  });

  test.each<[string, string]>([
    ["", 'envelope topic "": must not be empty'],
    ["tasks", "envelope topic \"tasks\": must start with '/'"],
    ["/", 'envelope topic "/": must have at least one component'],
    ["/a//b", 'envelope topic "/a//b": failed validation on component "": identifier must not be empty'],
    ["/a b", 'envelope topic "/a b": failed validation on component "a b": identifier "a b" must match'],
    ["/ä", 'envelope topic "/ä": failed validation on component "ä": identifier "ä" must match'],
    [`/${"a".repeat(100)}`, "greater than maximum length (76 characters)"],
  ])("topic %j is refused", async (topic, words) => {
    const { api } = fixture;
    const refused = { code: status.INVALID_ARGUMENT, details: expect.stringContaining(words) };
    await expect(api.events.publish({ topic, event: thing })).rejects.toMatchObject(refused);
    const envelope = { timestamp: { seconds: 1n, nanos: 0 }, namespace: "a", topic, event: thing };
    await expect(api.events.forward({ envelope })).rejects.toMatchObject(refused);
  });

  test("a topic of a hundred components", async () => {
    const { api } = fixture;
    using events = await api.subscribe();
    const topic = "/a".repeat(100);
    await api.events.publish({ topic, event: exitOf("x") });
    expect((await events.waitFor(topic)).event.containerId).toBe("x");
  });

  test.skipIf(isDebians)("an event that is too large, as those who do not read would have them kept", async () => {
    const { api } = fixture;
    const large = { ...thing, value: Buffer.alloc(64 * 1024) };
    const refused = {
      code: status.INVALID_ARGUMENT,
      details: expect.stringMatching(/^event of \d+ bytes: larger than 65536/),
    };
    await expect(api.events.publish({ topic: "/large", event: large })).rejects.toMatchObject(refused);
    await expect(api.events.publish({ topic: "/a".repeat(64 * 1024), event: thing })).rejects.toMatchObject(refused);
  });

  test.skipIf(isDebians)("an event that is too large, as those who do not read would have them kept", async () => {
    const { api } = fixture;
    const large = { ...thing, value: Buffer.alloc(64 * 1024) };
    const refused = {
      code: status.INVALID_ARGUMENT,
      details: expect.stringMatching(/^event of \d+ bytes: larger than 65536/),
    };
    await expect(api.events.publish({ topic: "/large", event: large })).rejects.toMatchObject(refused);
    await expect(api.events.publish({ topic: "/a".repeat(64 * 1024), event: thing })).rejects.toMatchObject(refused);
  });

  test("without a namespace, or with one that can't be", async () => {
    const { api } = fixture;
    await expect(api.in("").events.publish({ topic: "/a", event: thing })).rejects.toMatchObject({
      code: status.FAILED_PRECONDITION,
      details: expect.stringContaining("namespace is required"),
    });
    for (const namespace of ["../x", "a b", "a".repeat(100)])
      await expect(api.in(namespace).events.publish({ topic: "/a", event: thing })).rejects.toMatchObject({
        code: status.INVALID_ARGUMENT,
      });
    const envelope = { timestamp: { seconds: 1n, nanos: 0 }, namespace: "../x", topic: "/a", event: thing };
    await expect(api.events.forward({ envelope })).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining('event envelope has invalid namespace: identifier "../x" must match'),
    });
    await expect(
      api.events.forward({ envelope: { ...envelope, namespace: "x", timestamp: undefined } }),
    ).rejects.toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining("timestamp must be set on forwarded event"),
    });
  });

  // Each of these ends Debian's containerd 1.6 as a whole.
  test.skipIf(isDebians)("without an event, or an envelope", async () => {
    const { api } = fixture;
    const refused = { code: status.INVALID_ARGUMENT };
    await expect(api.events.publish({ topic: "/a" })).rejects.toMatchObject(refused);
    await expect(api.events.forward({})).rejects.toMatchObject(refused);
    const envelope = { timestamp: { seconds: 1n, nanos: 0 }, namespace: "x", topic: "/a", event: undefined };
    await expect(api.events.forward({ envelope })).rejects.toMatchObject(refused);
    await api.version.version();
  });
});

describe("filters", () => {
  test.each<[string, string[]]>([
    ['topic=="/tasks/exit"', ["x/tasks/exit a", "y/tasks/exit b"]],
    ['topic=="/tasks/exit",event.container_id==a', ["x/tasks/exit a"]],
    ["namespace==y,topic~=|^/tasks/|", ["y/tasks/exit b"]],
    ["namespace==y", ["y/tasks/exit b", "y/other"]],
    ["event.container_id", ["x/tasks/exit a", "y/tasks/exit b"]],
    ["event.id==e,event.container_id!=a", ["y/tasks/exit b"]],
    // Numbers and times are no fields, as in containerd.
    ["event.pid", []],
    ["event.pid==7", []],
    ["event.exited_at", []],
    ["event", []],
    ["timestamp", []],
    ["nope==x", []],
    ["", ["x/tasks/exit a", "y/tasks/exit b", "y/other"]],
  ])("%j", async (filter, expected) => {
    const { api } = fixture;
    using events = await api.subscribe(filter);
    await api.in("x").events.publish({ topic: "/tasks/exit", event: exitOf("a") });
    await api.in("y").events.publish({ topic: "/tasks/exit", event: exitOf("b") });
    await api.in("y").events.publish({ topic: "/other", event: thing });
    await seenAll(api, events);
    const seen = events.events.map(({ namespace, topic, event }) =>
      `${namespace}${topic} ${event.containerId ?? ""}`.trim(),
    );
    expect(seen).toEqual(expected);
  });

  test("an event whose bytes are not what they are said to be has no fields, and goes to who wants all", async () => {
    const { api } = fixture;
    using all = await api.subscribe();
    using some = await api.subscribe("event.container_id");
    await api.events.publish({ topic: "/damaged", event: { ...exitOf("a"), value: Buffer.from([0xff, 0xff]) } });
    await eventually(() => all.messages.some(({ topic }) => topic === "/damaged"));
    await seenAll(api, some);
    expect(some.events).toEqual([]);
  });

  test.each(["topic==", "====", 'topic=="'])("%j is refused", async (filter) => {
    const client = new EventsClient(fixture.daemon.address, credentials.createInsecure());
    try {
      const stream = client.subscribe({ filters: [filter] }, new Metadata());
      const error = await within(ended(stream), "the end of the subscription");
      // containerd knows this error's kind only by its text.
      expect(error).toMatchObject({
        code: isDebians ? status.UNKNOWN : status.INVALID_ARGUMENT,
        details: expect.stringMatching(/filters: parse error: .*: invalid argument/),
      });
    } finally {
      client.close();
    }
  });
});

function ended(stream: ClientReadableStream<Envelope>): Promise<unknown> {
  return new Promise((resolve, reject) => {
    stream.on("error", resolve);
    stream.on("end", () => reject(new Error("it has ended well")));
    stream.resume();
  });
}

test("what happens to a task and its execs, in order, with all that there is to tell", async () => {
  const { daemon, api } = fixture;
  using events = await api.subscribe("namespace==test");
  const task = await startTask(daemon, api, { name: "told", args: ["sleep", "100000"] });
  const { id, pid } = task;
  const exec = await task.exec({ execId: "e", args: ["sh", "-c", "exit 3"] });
  const execPid = await exec.start();
  const execExit = await exec.wait();
  await exec.delete();
  await api.tasks.pause({ containerId: id });
  await api.tasks.resume({ containerId: id });
  await task.kill();
  const exit = await task.wait();
  const deleted = await task.delete();
  await events.waitFor("/tasks/delete", { containerId: id });
  expect(events.events.filter(({ event }) => event.containerId === id).map(({ topic }) => topic)).toEqual([
    "/tasks/create",
    "/tasks/start",
    "/tasks/exec-added",
    "/tasks/exec-started",
    "/tasks/exit",
    "/tasks/paused",
    "/tasks/resumed",
    "/tasks/exit",
    "/tasks/delete",
  ]);
  const of = async (topic: string, fields: Record<string, unknown> = {}) => {
    const { type, event } = await events.waitFor(topic, { containerId: id, ...fields });
    return { type, ...event };
  };
  const ends = (type: string, id: string, pid: number, { exitStatus, exitedAt }: typeof exit) => ({
    ...{ type: `containerd.events.${type}`, id, pid, exitStatus, exitedAt },
  });
  expect(await of("/tasks/create")).toMatchObject({
    ...{ type: "containerd.events.TaskCreate", pid, rootfs: [], checkpoint: "" },
    bundle: expect.stringContaining(id),
    io: { stdin: "", stdout: "", stderr: "", terminal: false },
  });
  expect(await of("/tasks/start")).toEqual({ type: "containerd.events.TaskStart", containerId: id, pid });
  expect(await of("/tasks/exec-added")).toMatchObject({ type: "containerd.events.TaskExecAdded", execId: "e" });
  expect(await of("/tasks/exec-started")).toMatchObject({
    ...{ type: "containerd.events.TaskExecStarted", execId: "e", pid: execPid },
  });
  expect(await of("/tasks/exit", { id: "e" })).toMatchObject(ends("TaskExit", "e", execPid, execExit));
  expect(await of("/tasks/exit", { id })).toMatchObject(ends("TaskExit", id, pid, exit));
  expect(await of("/tasks/paused")).toEqual({ type: "containerd.events.TaskPaused", containerId: id });
  expect(await of("/tasks/resumed")).toEqual({ type: "containerd.events.TaskResumed", containerId: id });
  expect(await of("/tasks/delete")).toMatchObject(ends("TaskDelete", "", pid, deleted));
  await api.containers.delete({ id });
});

describe.skipIf(isDebians)("this daemon", () => {
  test("a subscriber that does not read is told, and harms nobody", async () => {
    const { daemon, api } = fixture;
    using reader = await api.subscribe();
    const client = new EventsClient(daemon.address, credentials.createInsecure());
    try {
      const stream = client.subscribe(SubscribeRequest.create({ filters: ['topic=="/flood"'] }), new Metadata());
      const error = new Promise((resolve) => stream.on("error", resolve));
      let read = 0;
      stream.on("data", () => read++);
      await eventually(async () => {
        await api.events.publish({ topic: "/flood", event: thing });
        return read > 0;
      });
      stream.pause();
      // Larger than what the connection holds, and more than may wait.
      const event = { typeUrl: "test.Flood", value: Buffer.alloc(4096) };
      const count = 3000;
      for (let sent = 0; sent < count; sent += 50)
        await Promise.all(Array.from({ length: 50 }, () => api.events.publish({ topic: "/flood", event })));
      await eventually(() => reader.events.filter(({ type }) => type === "test.Flood").length === count);
      await eventually(() => daemon.log.includes("event subscriber too slow"));
      stream.resume();
      expect(await within(error, "the end of the subscription")).toMatchObject({
        code: status.RESOURCE_EXHAUSTED,
        details: "too slow: events wait unread; subscribe anew and look at what there is: resource exhausted",
      });
    } finally {
      client.close();
    }
  });

  test("0.2's events and those of namespaces are two worlds", async () => {
    const { daemon, api } = fixture;
    using events = await api.in("").subscribe();
    const old = daemon.events;
    const id = daemon.id("old");
    await daemon.api.createContainer({ id, bundlePath: daemon.bundle("old", { args: ["true"] }) });
    expect((await old.waitFor({ type: "exit", id })).status).toBe(0);
    await api.events.publish({ topic: "/tasks/exit", event: exitOf(id) });
    await events.waitFor("/tasks/exit", { containerId: id });
    expect(events.told(id)).toEqual(["exit e 0"]);
    expect(old.events.map(({ type }) => type)).toEqual(["start-container", "exit"]);
  });
});
