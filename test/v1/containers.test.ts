import { describe, expect, test } from "vitest";
import { Container } from "../../src/proto/containerd/services/containers/v1/containers.js";
import type { Any } from "../../src/proto/google/protobuf/any.js";
import { isDebians, useContainerd1 } from "../harness/containerd1.js";
import { refusal } from "../harness/v1.js";

const fixture = useContainerd1();

const any = (text: string): Any => ({ typeUrl: "types.containerd.io/test", value: Buffer.from(text) });

type Wanted = Partial<Container>;

const runc = (name = "io.containerd.runc.v2", options?: Any) => ({ name, options });

function record(id: string, fields: Wanted = {}): Container {
  return { ...Container.fromPartial({}), id, runtime: runc(), spec: any("{}"), ...fields };
}

async function create(id: string, fields: Wanted = {}): Promise<Container> {
  const { container } = await fixture.api.containers.create({ container: record(id, fields) });
  return container!;
}

async function update(id: string, fields: Wanted, ...updateMask: string[]): Promise<Container> {
  const { container } = await fixture.api.containers.update({ container: record(id, fields), updateMask });
  return container!;
}

test("what is created is got back byte for byte, with its times", async () => {
  const bytes = Buffer.from(Array.from({ length: 10_000 }, (_, i) => (i * 31) % 256));
  const wanted: Wanted = {
    labels: { "com.docker/engine.bundle.path": "/var/run", "a.b": "ü" },
    image: "docker.io/library/busybox:latest",
    runtime: runc(undefined, { typeUrl: "containerd.runc.v1.Options", value: bytes }),
    // Unknown to everybody, and no JSON.
    spec: { typeUrl: "of.nobody.Thing", value: bytes },
    snapshotter: "overlayfs",
    snapshotKey: "whole",
    extensions: { "x.y": { typeUrl: "", value: Buffer.alloc(0) }, z: { typeUrl: "t", value: bytes.subarray(1, 999) } },
  };
  const made = await create("whole", wanted);
  expect(made).toEqual({ ...record("whole", wanted), createdAt: made.createdAt, updatedAt: made.createdAt });
  expect(Math.abs(Number(made.createdAt!.seconds) - Date.now() / 1000)).toBeLessThan(3600);
  expect((await fixture.api.containers.get({ id: "whole" })).container).toEqual(made);
});

test("namespaces don't see each other's containers", async () => {
  const other = fixture.daemon.v1("other");
  await create("twin", { image: "1" });
  expect(await refusal(other.containers.get({ id: "twin" }))).toBe(
    'NOT_FOUND: container "twin" in namespace "other": not found',
  );
  await other.containers.create({ container: record("twin", { image: "2" }) });
  expect((await other.containers.list()).containers.map(({ image }) => image)).toEqual(["2"]);
  await other.containers.delete({ id: "twin" });
  expect((await fixture.api.containers.get({ id: "twin" })).container?.image).toBe("1");
});

test("of many that create one at the same time, one succeeds", async () => {
  const made = await Promise.allSettled(Array.from({ length: 20 }, (_, i) => create("race", { image: `${i}` })));
  const winners = made.filter((one) => one.status === "fulfilled");
  expect(winners.map(({ value }) => value)).toEqual([(await fixture.api.containers.get({ id: "race" })).container]);
  for (const one of made) {
    if (one.status === "rejected") expect(one.reason).toMatchObject({ details: 'container "race": already exists' });
  }
});

describe("lists", () => {
  test.each<[string[], string[]]>([
    [[], ["list-a", "list-b"]],
    [["id==list-a"], ["list-a"]],
    [
      ["id~=^list-[a-z]$,labels.tier==web", 'labels."io.example/x y"'],
      ["list-a", "list-b"],
    ],
    [["labels.tier!=web"], ["list-b"]],
    [["runtime.name~=runc,image"], ["list-b"]],
    [["id~=|^list-|,id!=list-a"], ["list-b"]],
    [["nope"], []],
  ])("%j", async (filters, expected) => {
    const api = fixture.daemon.v1("lists");
    const labelled = {
      "list-a": { labels: { tier: "web" } },
      "list-b": { image: "i", labels: { "io.example/x y": "1" } },
    };
    for (const [id, fields] of Object.entries(labelled))
      await api.containers.create({ container: record(id, fields) }).catch(() => {});
    expect((await api.containers.list({ filters })).containers.map(({ id }) => id)).toEqual(expected);
    const stream = api.listContainers(...filters);
    await stream.ended;
    expect(stream.messages.map(({ container }) => container?.id)).toEqual(expected);
  });

  test.each([
    ["id==", "[id==]: expected value or quoted"],
    ["id=a", '[id >|=|< a]: unsupported operator "="'],
    ["id==a b", "[id==a >| |< b]: unexpected input:  "],
    ["id==a,", "[id==a,]: expected field or quoted"],
    ["size>5", '[size >|>|< 5]: expected an operator ("=="|"!="|"~=")'],
    ['id=="a', '[id== >|"|< a]: quoted literal not terminated'],
    ['id=="\\q"', '[id== >|"|< \\q"]: illegal escape sequence'],
    ["id==|a|", "[id== >|||< a|]: invalid quote encountered"],
  ])("what is no filter is told where: %s", async (filter, words) => {
    const refused = expect.stringContaining(`INVALID_ARGUMENT: filters: parse error: ${words}: invalid argument`);
    expect(await refusal(fixture.api.containers.list({ filters: [filter] }))).toEqual(refused);
    await expect(fixture.api.listContainers(filter).ended).rejects.toMatchObject({ code: 3 });
  });

  // containerd takes it for a filter that nothing passes.
  test.skipIf(isDebians)("what is no regular expression is refused", async () => {
    expect(await refusal(fixture.api.containers.list({ filters: ["id~=("] }))).toBe(
      'INVALID_ARGUMENT: filters: regular expression "(": missing closing ): `(`: invalid argument',
    );
  });
});

describe("updates", () => {
  test("a mask names what changes: fields, and entries of maps", async () => {
    const before = await create("mask", {
      labels: { a: "1", b: "1" },
      image: "1",
      extensions: { x: any("1"), y: any("1") },
    });
    const wanted: Wanted = { labels: { a: "2", c: "2" }, image: "2", extensions: { x: any("2") }, spec: any("[2]") };
    const one = await update("mask", wanted, "labels.a", "extensions.x");
    expect(one).toEqual({
      ...before,
      labels: { a: "2", b: "1" },
      extensions: { x: any("2"), y: any("1") },
      updatedAt: one.updatedAt,
    });
    expect(one.updatedAt).not.toEqual(one.createdAt);
    // An entry that the other does not have goes.
    expect((await update("mask", wanted, "labels.b", "image")).labels).toEqual({ a: "2" });
    const whole = await update("mask", wanted, "labels", "spec");
    expect(whole).toMatchObject({ labels: { a: "2", c: "2" }, image: "2", spec: any("[2]") });
    expect((await fixture.api.containers.get({ id: "mask" })).container).toEqual(whole);
  });

  test("no mask: all that may change", async () => {
    await create("all", { labels: { a: "1" }, image: "1", extensions: { x: any("1") }, snapshotter: "s" });
    const after = await update("all", { labels: { b: "2" }, snapshotter: "s", snapshotKey: "k" });
    expect(after).toMatchObject({ labels: { b: "2" }, image: "", extensions: {}, snapshotter: "s", snapshotKey: "k" });
  });

  test("what can't change is refused, and nothing has changed", async () => {
    const before = await create("fixed");
    const words = (call: Promise<unknown>) => refusal(call);
    expect(await words(update("fixed", { snapshotter: "other" }))).toBe(
      "INVALID_ARGUMENT: container.Snapshotter field is immutable: invalid argument",
    );
    expect(await words(update("fixed", { runtime: runc("other") }))).toBe(
      "INVALID_ARGUMENT: container.Runtime.Name field is immutable: invalid argument",
    );
    expect(await words(update("fixed", { spec: undefined }))).toBe(
      "INVALID_ARGUMENT: update failed validation: container.Spec must be set: invalid argument",
    );
    for (const path of ["nope", "id", "Labels", "runtime", "created_at", "spec.value", ""]) {
      expect(await words(update("fixed", { labels: { a: "b" } }, "labels", path))).toBe(
        `INVALID_ARGUMENT: cannot update ${JSON.stringify(path)} field on "fixed": invalid argument`,
      );
    }
    expect((await fixture.api.containers.get({ id: "fixed" })).container).toEqual(before);
  });
});

test("labels with empty values are none", async () => {
  expect((await create("labels", { labels: { a: "", b: "1" } })).labels).toEqual({ b: "1" });
});

describe("bad input", () => {
  test.each<[string, Wanted, string]>([
    ["no id", { id: "" }, "container.ID: identifier must not be empty"],
    ["a path", { id: "../x" }, 'container.ID: identifier "../x" must match ^'],
    ["a part of one", { id: "a/b" }, 'container.ID: identifier "a/b" must match ^'],
    ["unicode", { id: "ümlaut" }, 'container.ID: identifier "ümlaut" must match ^'],
    ["a new line", { id: "a\n" }, "must match ^"],
    [
      "77 characters",
      { id: "x".repeat(77) },
      `identifier "${"x".repeat(77)}" greater than maximum length (76 characters)`,
    ],
    // containerd says it all again, which is more than a client takes.
    ["a very long one", { id: "x".repeat(isDebians ? 100 : 1_000_000) }, "greater than maximum length (76 characters)"],
    ["no runtime", { runtime: undefined }, "container.Runtime.Name must be set"],
    ["no spec", { spec: undefined }, "container.Spec must be set"],
    ["a snapshot of nobody", { snapshotKey: "x" }, "container.Snapshotter must be set if container.SnapshotKey is set"],
    [
      "an extension without a name",
      { extensions: { "": any("x") } },
      "container.Extension keys must not be zero-length",
    ],
    [
      "a label of 4097 bytes",
      { labels: { a: "x".repeat(4096) } },
      "label key and value greater than maximum size (4096 bytes), key: a",
    ],
  ])("%s", async (_, fields, words) => {
    const before = await fixture.api.containers.list();
    const refused = await refusal(fixture.api.containers.create({ container: record("bad", fields) }));
    expect(refused).toContain("INVALID_ARGUMENT: create container failed validation: ");
    expect(refused).toContain(words);
    expect(await fixture.api.containers.list()).toEqual(before);
  });

  test.each([
    ["", "FAILED_PRECONDITION: namespace is required: failed precondition"],
    ["../x", 'INVALID_ARGUMENT: namespace validation: identifier "../x" must match '],
    ["x".repeat(77), "INVALID_ARGUMENT: namespace validation: identifier "],
    ["a b", 'INVALID_ARGUMENT: namespace validation: identifier "a b" must match '],
  ])("the namespace %j", async (namespace, words) => {
    const { containers } = fixture.daemon.v1(namespace);
    const calls = [
      containers.get({ id: "a" }),
      containers.list(),
      containers.create({ container: record("a") }),
      containers.update({ container: record("a") }),
      containers.delete({ id: "a" }),
    ];
    for (const told of await Promise.all(calls.map(refusal))) expect(told).toContain(words);
    await expect(fixture.daemon.v1(namespace).listContainers().ended).rejects.toThrow(words.replace(/^\w+: /, ""));
  });

  test("what is not there", async () => {
    const nowhere = 'container "nope" in namespace "test": not found';
    expect(await refusal(fixture.api.containers.get({ id: "nope" }))).toBe(`NOT_FOUND: ${nowhere}`);
    // containerd's words depend on whether there was a container before.
    const unchanged = /^NOT_FOUND: .*container "?nope"?.*: not found$/;
    expect(await refusal(fixture.api.containers.delete({ id: "nope" }))).toMatch(unchanged);
    expect(await refusal(update("nope", {}))).toMatch(unchanged);
    // As long a name as no key of the store can be.
    if (!isDebians)
      expect(await refusal(fixture.api.containers.get({ id: "x".repeat(5000) }))).toMatch(/^NOT_FOUND: container "x/);
    expect(await refusal(fixture.api.containers.delete({ id: "" }))).toMatch(/^NOT_FOUND: /);
    expect(await refusal(fixture.api.containers.update({}))).toMatch(/^INVALID_ARGUMENT: Container.ID required/);
  });

  test("a spec larger than a message may be is refused, one of 12 MB is kept", async () => {
    expect(await refusal(create("huge", { spec: any("x".repeat(20_000_000)) }))).toMatch(/^RESOURCE_EXHAUSTED: /);
    expect(await refusal(fixture.api.containers.get({ id: "huge" }))).toMatch(/^NOT_FOUND: /);
    const large = any("x".repeat(12_000_000));
    await create("large", { spec: large });
    const { container } = await fixture.api.containers.get({ id: "large" });
    expect(container!.spec!.value.equals(large.value)).toBe(true);
  });
});

test("each change is told, to those who follow the namespace", async () => {
  using events = await fixture.daemon.v1("").subscribe("namespace==told");
  const { containers } = fixture.daemon.v1("told");
  const options = any("options");
  await containers.create({ container: record("c", { image: "i", runtime: runc("r", options) }) });
  const changed = { labels: { l: "2" }, snapshotter: "", runtime: runc("r") };
  await containers.update({ container: record("c", changed), updateMask: ["labels"] });
  await refusal(containers.create({ container: record("c") }));
  await containers.delete({ id: "c" });
  await events.waitFor("/containers/delete");
  expect(events.events.map(({ namespace, topic, type, event }) => ({ namespace, topic, type, event }))).toEqual([
    {
      namespace: "told",
      topic: "/containers/create",
      type: "containerd.events.ContainerCreate",
      event: { id: "c", image: "i", runtime: { name: "r", options } },
    },
    {
      namespace: "told",
      topic: "/containers/update",
      type: "containerd.events.ContainerUpdate",
      event: { id: "c", image: "i", labels: { l: "2" }, snapshotKey: "" },
    },
    { namespace: "told", topic: "/containers/delete", type: "containerd.events.ContainerDelete", event: { id: "c" } },
  ]);
});
