import { expect, test } from "vitest";
import { Container } from "../../src/proto/containerd/services/containers/v1/containers.js";
import { isDebians, useContainerd1 } from "../harness/containerd1.js";
import { refusal } from "../harness/v1.js";

// Debian's containerd wants one also for calls about namespaces, though only for what it tells of them.
const fixture = useContainerd1({}, "caller");

const container = (id: string): Container => ({
  ...Container.fromPartial({ id }),
  runtime: { name: "r", options: undefined },
  spec: { typeUrl: "", value: Buffer.alloc(0) },
});

async function names(): Promise<string[]> {
  return (await fixture.api.namespaces.list()).namespaces.map(({ name }) => name);
}

test("one that nobody has made is answered with its name, and is in no list", async () => {
  const { namespace } = await fixture.api.namespaces.get({ name: "moby" });
  expect(namespace).toEqual({ name: "moby", labels: {} });
  expect(await names()).not.toContain("moby");
});

test("is created with labels, once, and deleted", async () => {
  const { namespaces } = fixture.api;
  const made = { name: "made", labels: { a: "b", empty: "" } };
  await namespaces.create({ namespace: made });
  expect((await namespaces.get({ name: "made" })).namespace).toEqual({ name: "made", labels: { a: "b" } });
  expect(await refusal(namespaces.create({ namespace: made }))).toBe(
    'ALREADY_EXISTS: namespace "made": already exists',
  );
  await namespaces.delete({ name: "made" });
  expect(await names()).not.toContain("made");
  expect(await refusal(namespaces.delete({ name: "made" }))).toBe('NOT_FOUND: namespace "made": not found');
});

test("comes into being by its first container, and is not deleted while it has one", async () => {
  const { namespaces } = fixture.api;
  const used = fixture.daemon.v1("used");
  await used.containers.create({ container: container("c") });
  expect(await names()).toContain("used");
  expect(await refusal(namespaces.delete({ name: "used" }))).toBe(
    'FAILED_PRECONDITION: namespace "used" must be empty, but it still has containers: failed precondition',
  );
  await used.containers.delete({ id: "c" });
  await namespaces.delete({ name: "used" });
  expect(await names()).not.toContain("used");
});

test("comes into being by a label", async () => {
  const { namespaces } = fixture.api;
  const change = (labels: Record<string, string>, ...updateMask: string[]) =>
    namespaces.update({ namespace: { name: "labelled", labels }, updateMask });
  const labels = async () => (await namespaces.get({ name: "labelled" })).namespace!.labels;
  await change({ a: "1", b: "1" }, "labels.a");
  expect(await labels()).toEqual({ a: "1" });
  expect(await names()).toContain("labelled");
  await change({ "c.d/e": "2", f: "2" }, "labels.c.d/e");
  expect(await labels()).toEqual({ a: "1", "c.d/e": "2" });
  await change({ g: "3" });
  expect(await labels()).toEqual({ g: "3" });
  await change({ g: "" }, "labels.g");
  expect(await labels()).toEqual({});
  expect(await refusal(change({ a: "b" }, "name"))).toContain('INVALID_ARGUMENT: cannot update "name" field');
});

test("its leases go with it", async () => {
  const { leases } = fixture.daemon.v1("leased");
  await leases.create({ id: "l" });
  await leases.addResource({ id: "l", resource: { id: "s", type: "snapshots/overlayfs" } });
  await fixture.api.namespaces.delete({ name: "leased" });
  expect((await leases.list()).leases).toEqual([]);
  await leases.create({ id: "l" });
  expect((await leases.listResources({ id: "l" })).resources).toEqual([]);
});

test.each(["", "../x", "a b", "x".repeat(77), "ümlaut"])("what can't be one: %j", async (name) => {
  const { namespaces } = fixture.api;
  const before = await names();
  const refused = name === "" ? "identifier must not be empty" : `identifier ${JSON.stringify(name)}`;
  expect(await refusal(namespaces.create({ namespace: { name, labels: {} } }))).toContain(
    `INVALID_ARGUMENT: ${refused}`,
  );
  expect(await refusal(namespaces.delete({ name }))).toBe(`NOT_FOUND: namespace "${name}": not found`);
  // containerd makes it by its labels.
  if (!isDebians)
    expect(await refusal(namespaces.update({ namespace: { name, labels: { a: "b" } } }))).toContain(refused);
  expect(await names()).toEqual(before);
});

test("a label that is too long", async () => {
  const namespace = { name: "long", labels: { a: "x".repeat(4096) } };
  expect(await refusal(fixture.api.namespaces.create({ namespace }))).toBe(
    "INVALID_ARGUMENT: namespace.Labels: label key and value greater than maximum size (4096 bytes), key: a: invalid argument",
  );
});

// containerd 1.6 knows the field, and does nothing with it.
test.skipIf(isDebians)("lists take a filter", async () => {
  const { namespaces } = fixture.api;
  await namespaces.create({ namespace: { name: "filtered", labels: { tier: "web" } } });
  const found = async (filter: string) => (await namespaces.list({ filter })).namespaces.map(({ name }) => name);
  expect(await found("name==filtered")).toEqual(["filtered"]);
  expect(await found("labels.tier==web")).toEqual(["filtered"]);
  expect(await refusal(namespaces.list({ filter: "name=" }))).toMatch(/^INVALID_ARGUMENT: filters: parse error/);
});

// containerd tells it in the caller's namespace, and only to who has one.
test.skipIf(isDebians)("changes are told", async () => {
  const { namespaces } = fixture.daemon.v1("");
  using events = await fixture.daemon.v1("").subscribe('namespace==told,topic~="^/namespaces/"');
  await namespaces.create({ namespace: { name: "told", labels: { a: "1" } } });
  await namespaces.update({ namespace: { name: "told", labels: { a: "2" } }, updateMask: ["labels.a"] });
  await namespaces.delete({ name: "told" });
  await events.waitFor("/namespaces/delete");
  expect(events.events.map(({ topic, event }) => [topic, event])).toEqual([
    ["/namespaces/create", { name: "told", labels: { a: "1" } }],
    ["/namespaces/update", { name: "told", labels: { a: "2" } }],
    ["/namespaces/delete", { name: "told" }],
  ]);
});
