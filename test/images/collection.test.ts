/** What nothing needs goes, and nothing else. */
import { expect, test } from "vitest";
import { isDebians, useContainerd1 } from "../harness/containerd1.js";
import { digestsOf, imageOf, labelBlob, putBlob } from "../harness/content-blobs.js";
import { type ApiV1, refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const fixture = useContainerd1();

const REF = "containerd.io/gc.ref.content";
const EXPIRE = "containerd.io/gc.expire";
const inSeconds = (seconds: number) => new Date(Date.now() + seconds * 1000).toISOString();

/** A manifest with two layers and a config, made under a lease. */
async function putImage(api: ApiV1, name: string, lease: string): Promise<{ manifest: string; parts: string[] }> {
  const parts: string[] = [];
  for (const part of ["config", "l.0", "l.1"]) parts.push(await putBlob(api, `${name} ${part}`, { lease }));
  const [config, ...layers] = parts as [string, ...string[]];
  const labels = { [`${REF}.config`]: config, ...Object.fromEntries(layers.map((one, n) => [`${REF}.l.${n}`, one])) };
  return { manifest: await putBlob(api, `${name} manifest`, { lease, labels }), parts };
}

/** A collection from now on. */
async function collect(api: ApiV1): Promise<void> {
  await api.leases.create({ id: "collect" });
  await api.leases.delete({ id: "collect", sync: true });
}

test("an image keeps all that it needs, until it goes", async () => {
  const api = fixture.api.in("image");
  await api.leases.create({ id: "l" });
  const one = await putImage(api, "one", "l");
  const two = await putImage(api, "two", "l");
  const loose = await putBlob(api, "loose", { lease: "l" });
  await labelBlob(api, two.manifest, { [`${REF}.shared`]: one.parts[1]! });
  await api.images.create({ image: imageOf("one", one.manifest) });
  await api.images.create({ image: imageOf("two", two.manifest) });
  await collect(api);
  expect(await digestsOf(api)).toHaveLength(9);
  // The lease goes, and what it alone has kept.
  await api.leases.delete({ id: "l", sync: true });
  const all = [one.manifest, two.manifest, ...one.parts, ...two.parts];
  expect(await digestsOf(api)).toEqual([...all].sort());
  expect(await refusal(api.content.info({ digest: loose }))).toContain("NOT_FOUND");
  await api.images.delete({ name: "one", sync: true });
  expect(await digestsOf(api)).toEqual([two.manifest, ...two.parts, one.parts[1]!].sort());
  // Without waiting, soon after.
  await api.images.delete({ name: "two" });
  if (isDebians) await collect(api);
  await eventually(async () => (await digestsOf(api)).length === 0);
});

test("an image that is made to name something else lets go of what it has named", async () => {
  const api = fixture.api.in("moved");
  await api.leases.create({ id: "l" });
  const one = await putImage(api, "one", "l");
  const two = await putImage(api, "two", "l");
  await api.images.create({ image: imageOf("x", one.manifest) });
  await api.leases.delete({ id: "l", sync: true });
  expect(await digestsOf(api)).toEqual([one.manifest, ...one.parts].sort());
  await api.leases.create({ id: "l" });
  await putImage(api, "two", "l");
  await api.images.update({ image: imageOf("x", two.manifest), updateMask: ["target"] });
  await api.leases.delete({ id: "l", sync: true });
  expect(await digestsOf(api)).toEqual([two.manifest, ...two.parts].sort());
  await api.images.delete({ name: "x", sync: true });
  expect(await digestsOf(api)).toEqual([]);
});

test("labels keep: on content, on an image, on a container, on a lease", async () => {
  const api = fixture.api.in("labels");
  await api.leases.create({ id: "l" });
  const put = (text: string, labels = {}) => putBlob(api, text, { lease: "l", labels });
  const [byRoot, byImage, byLease, last] = [await put("r"), await put("i"), await put("q"), await put("last")];
  const root = await put("root", { "containerd.io/gc.root": "now", [`${REF}.x`]: byRoot });
  // One that refers to itself, and to something that is not there.
  await labelBlob(api, root, {
    [`${REF}.self`]: root,
    [`${REF}.none`]: `sha256:${"0".repeat(64)}`,
    [`${REF}.bad`]: "x",
  });
  await api.images.create({ image: imageOf("i", root, { [`${REF}.0`]: byImage }) });
  await api.leases.create({ id: "labelled", labels: { [REF]: byLease } });
  await api.leases.delete({ id: "l", sync: true });
  // containerd 1.6 follows no such labels of leases.
  expect(await digestsOf(api)).toEqual([root, byRoot, byImage, ...(isDebians ? [] : [byLease])].sort());
  expect(await refusal(api.content.info({ digest: last }))).toContain("NOT_FOUND");
  await labelBlob(api, root, { "containerd.io/gc.root": "" });
  await api.leases.delete({ id: "labelled" });
  await api.images.delete({ name: "i", sync: true });
  expect(await digestsOf(api)).toEqual([]);
});

test("a flat lease keeps what it has, and not what that names", async () => {
  const api = fixture.api.in("flat");
  await api.leases.create({ id: "flat", labels: { "containerd.io/gc.flat": "now" } });
  await api.leases.create({ id: "deep" });
  const below = await putBlob(api, "below", { lease: "deep" });
  const above = await putBlob(api, "above", { lease: "deep", labels: { [`${REF}.0`]: below } });
  await api.leases.addResource({ id: "flat", resource: { type: "content", id: above } });
  await collect(api);
  expect(await digestsOf(api)).toEqual([above, below].sort());
  await api.leases.delete({ id: "deep", sync: true });
  expect(await digestsOf(api)).toEqual([above]);
  await api.leases.delete({ id: "flat", sync: true });
  expect(await digestsOf(api)).toEqual([]);
});

test("a lease that has ended keeps nothing", async () => {
  const api = fixture.api.in("expired");
  await api.leases.create({ id: "short", labels: { [EXPIRE]: inSeconds(2) } });
  await api.leases.create({ id: "long", labels: { [EXPIRE]: inSeconds(3600) } });
  await putBlob(api, "short", { lease: "short" });
  const kept = await putBlob(api, "long", { lease: "long" });
  await eventually(async () => {
    await collect(api);
    return (await digestsOf(api)).length === 1;
  });
  expect(await digestsOf(api)).toEqual([kept]);
  expect((await api.leases.list()).leases.map(({ id }) => id)).toEqual(["long"]);
  await api.leases.delete({ id: "long", sync: true });
});

test("what was begun goes with its lease, not while it is written", async () => {
  const api = fixture.api.in("ingests");
  await api.leases.create({ id: "l" });
  using open = api.writeContent({ lease: "l" });
  await open.write({ ref: "open", data: Buffer.from("o") });
  {
    using writer = api.writeContent({ lease: "l" });
    await writer.write({ ref: "left", data: Buffer.from("l") });
    await writer.end();
  }
  const refs = async () => (await api.content.listStatuses()).statuses.map(({ ref }) => ref).sort();
  await collect(api);
  expect(await refs()).toEqual(["left", "open"]);
  await api.leases.delete({ id: "l", sync: true });
  // containerd takes it from who writes it.
  if (isDebians) return;
  expect(await refs()).toEqual(["open"]);
  await open.commit({ offset: 1n }).catch(() => {});
  await api.content.abort({ ref: "open" }).catch(() => {});
});

test("content of two namespaces goes with the second", async () => {
  const [one, two] = [fixture.api.in("first"), fixture.api.in("second")];
  for (const api of [one, two]) await api.leases.create({ id: "l" });
  const digest = await putBlob(one, "both", { lease: "l" });
  {
    using writer = two.writeContent({ lease: "l" });
    const { offset } = await writer.stat({ ref: "both", expected: digest });
    await writer.commit({ offset, expected: digest });
  }
  await one.leases.delete({ id: "l", sync: true });
  expect([await digestsOf(one), await digestsOf(two)]).toEqual([[], [digest]]);
  using read = two.readContent(digest);
  await read.ended;
  expect(Buffer.concat(read.messages.map(({ data }) => data)).toString()).toBe("both");
  await two.leases.delete({ id: "l", sync: true });
  expect(await digestsOf(two)).toEqual([]);
});

// containerd collects it at once.
test.skipIf(isDebians)("what a client makes without a lease stays for who is about to use it", async () => {
  const api = fixture.api.in("no-lease");
  const part = await putBlob(api, "part");
  const whole = await putBlob(api, "whole", { labels: { [`${REF}.0`]: part } });
  const other = await putBlob(api, "other");
  await collect(api);
  expect(await digestsOf(api)).toEqual([part, whole, other].sort());
  // Once it was used, it goes with that.
  await api.images.create({ image: imageOf("i", whole) });
  await api.images.delete({ name: "i", sync: true });
  expect(await digestsOf(api)).toEqual([other]);
  await api.content.delete({ digest: other });
});

// A label that containerd 1.6 does not know on images.
test.skipIf(isDebians)("an image whose time is over goes, unless a container names it", async () => {
  const api = fixture.api.in("old-images");
  await api.leases.create({ id: "l" });
  const labels = { [EXPIRE]: inSeconds(-1) };
  const [old, used] = [await putBlob(api, "old", { lease: "l" }), await putBlob(api, "used", { lease: "l" })];
  await api.images.create({ image: imageOf("old", old, labels) });
  await api.images.create({ image: imageOf("used", used, labels) });
  const spec = { typeUrl: "x", value: Buffer.alloc(0) };
  const container = { id: "c", image: "used", spec, runtime: { name: "r", options: undefined } };
  await api.containers.create({ container: { ...EMPTY_CONTAINER, ...container } });
  using events = await api.subscribe('topic=="/images/delete"');
  await api.leases.delete({ id: "l", sync: true });
  expect(await digestsOf(api)).toEqual([used]);
  await events.waitFor("/images/delete", { name: "old" });
  await api.containers.delete({ id: "c" });
  await collect(api);
  expect((await api.images.list()).images).toEqual([]);
  expect(await digestsOf(api)).toEqual([]);
});

const EMPTY_CONTAINER = {
  ...{ labels: {}, snapshotter: "", snapshotKey: "", extensions: {}, sandbox: "" },
  ...{ createdAt: undefined, updatedAt: undefined },
};
