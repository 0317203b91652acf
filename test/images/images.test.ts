/** containerd 1.x's images service: names for content, and all that it needs. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Image } from "../../src/proto/containerd/services/images/v1/images.js";
import { isDebians, useContainerd1 } from "../harness/containerd1.js";
import { sha256 } from "../harness/content-writer.js";
import { times } from "../harness/extent.js";
import { type ApiV1, refusal } from "../harness/v1.js";

const fixture = useContainerd1();

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const target = (text: string) => ({ mediaType: MANIFEST, digest: sha256(text), size: 7n, annotations: { of: text } });

const image = (name: string, fields: Partial<Image> = {}): Image => ({
  ...Image.fromPartial({ name }),
  target: target("one"),
  ...fields,
});

const time = ({ seconds, nanos } = { seconds: 0n, nanos: 0 }) => seconds * 1_000_000_000n + BigInt(nanos);

const names = async (api: ApiV1, ...filters: string[]) =>
  (await api.images.list({ filters })).images.map(({ name }) => name);

test("is created, told of, changed and deleted", async () => {
  const { images } = fixture.api;
  const name = "docker.io/library/busybox:latest";
  const before = BigInt(Date.now() - 1) * 1_000_000n;
  const { image: made } = await images.create({ image: image(name, { labels: { a: "1", "b.c": "2", e: "" } }) });
  expect(made).toMatchObject({ name, target: target("one") });
  const { image: got } = await images.get({ name });
  expect(got).toMatchObject({ name, target: target("one"), labels: { a: "1", "b.c": "2" } });
  expect(time(got!.createdAt)).toBeGreaterThan(before);
  expect(await refusal(images.create({ image: image(name) }))).toBe(`ALREADY_EXISTS: image "${name}": already exists`);

  const update = async (fields: Partial<Image>, ...updateMask: string[]) =>
    (await images.update({ image: image(name, fields), updateMask })).image!;
  expect(await update({ labels: { a: "", d: "4" } }, "labels.a", "labels.d")).toMatchObject({ target: target("one") });
  expect((await images.get({ name })).image!.labels).toEqual({ "b.c": "2", d: "4" });
  expect(await update({ target: target("two") }, "target")).toMatchObject({ target: target("two") });
  expect(await update({ target: { ...target("x"), annotations: { k: "v" } } }, "annotations.k")).toMatchObject({
    target: { digest: sha256("two"), annotations: { of: "two", k: "v" } },
  });
  const all = await update({ labels: { only: "this" }, target: target("three") });
  expect(all).toMatchObject({ labels: { only: "this" }, target: target("three") });
  const { image: last } = await images.get({ name });
  expect(time(last!.createdAt)).toBe(time(got!.createdAt));
  expect(time(last!.updatedAt)).toBeGreaterThan(time(got!.updatedAt));

  await images.delete({ name });
  for (const call of [images.get, images.delete])
    expect(await refusal(call({ name }))).toBe(`NOT_FOUND: image "${name}": not found`);
  expect(await refusal(images.update({ image: image(name), updateMask: undefined }))).toBe(
    `NOT_FOUND: image "${name}": not found`,
  );
});

test("each namespace has its own, by their names, found by filters", async () => {
  const api = fixture.api.in("filters");
  for (const name of ["c", "a", "b.d/e:1"])
    await api.images.create({ image: image(name, { labels: { [`of.${name}`]: "x" }, target: target(name) }) });
  expect(await names(api)).toEqual(["a", "b.d/e:1", "c"]);
  expect(await names(fixture.api)).toEqual([]);
  expect(await names(api, "name==a", "name~=^b.*1$")).toEqual(["a", "b.d/e:1"]);
  expect(await names(api, `target.digest==${sha256("c")}`)).toEqual(["c"]);
  expect(await names(api, `target.mediatype==${MANIFEST},annotations.of==a`)).toEqual(["a"]);
  expect(await names(api, 'labels."of.b.d/e:1"==x')).toEqual(["b.d/e:1"]);
  expect(await refusal(names(api, "=="))).toMatch(/^INVALID_ARGUMENT: .*parse error/);
  for (const name of await names(api)) await api.images.delete({ name });
});

test("what happens is told", async () => {
  const { api } = fixture;
  using events = await api.subscribe("topic~=/images/");
  await api.images.create({ image: image("told", { labels: { a: "1" } }) });
  await api.images.update({ image: image("told", { labels: { a: "2" } }), updateMask: ["labels"] });
  await api.images.delete({ name: "told" });
  const { namespace, type } = await events.waitFor("/images/delete", { name: "told" });
  expect([namespace, type]).toEqual(["test", "containerd.services.images.v1.ImageDelete"]);
  expect(events.events.map(({ topic, event }) => [topic, event])).toEqual([
    ["/images/create", { name: "told", labels: { a: "1" } }],
    ["/images/update", { name: "told", labels: { a: "2" } }],
    ["/images/delete", { name: "told" }],
  ]);
});

test("one that has become another is not deleted", async () => {
  // A field that containerd 1.6 does not know.
  if (isDebians) return;
  const { images } = fixture.api;
  await images.create({ image: image("moved") });
  expect(await refusal(images.delete({ name: "moved", target: target("two") }))).toBe(
    `NOT_FOUND: image "moved" has target ${sha256("one")}, not ${sha256("two")}: not found`,
  );
  await images.delete({ name: "moved", target: target("one") });
});

test("bad input", async () => {
  const { images } = fixture.api;
  const create = (fields: Partial<Image>) => refusal(images.create({ image: image("bad", fields) }));
  expect(await create({ name: "" })).toMatch(/^INVALID_ARGUMENT: Image.Name required/);
  expect(await create({ target: { ...target("x"), digest: "nope" } })).toBe(
    'INVALID_ARGUMENT: Target.Digest "nope" invalid: invalid checksum digest format: invalid argument',
  );
  expect(await create({ target: { ...target("x"), size: 0n } })).toBe(
    "INVALID_ARGUMENT: Target.Size must be greater than zero: invalid argument",
  );
  expect(await create({ target: { ...target("x"), mediaType: "" } })).toBe(
    "INVALID_ARGUMENT: Target.MediaType must be set: invalid argument",
  );
  expect(await create({ labels: { key: "x".repeat(4096) } })).toMatch(/^INVALID_ARGUMENT: .*label key and value/);
  await images.create({ image: image("good") });
  expect(await refusal(images.update({ image: image("good"), updateMask: ["name"] }))).toBe(
    'INVALID_ARGUMENT: cannot update "name" field on image "good": invalid argument',
  );
  expect(await refusal(fixture.daemon.v1("").images.list())).toMatch(/^FAILED_PRECONDITION: namespace is required/);
  if (!isDebians) {
    for (const name of ["x".repeat(1025), "a\nb"])
      expect(await create({ name })).toMatch(/^INVALID_ARGUMENT: image name ".*it has to be printable/s);
    expect(await refusal(images.get({ name: "x".repeat(5000) }))).toMatch(/^NOT_FOUND: /);
  }
  await images.delete({ name: "good" });
});

test("a namespace that has images can't be deleted", async () => {
  const api = fixture.api.in("keeps-images");
  await api.images.create({ image: image("one") });
  const { namespaces } = fixture.daemon.v1("");
  expect(await refusal(namespaces.delete({ name: "keeps-images" }))).toMatch(
    /^FAILED_PRECONDITION: namespace "keeps-images" must be empty, but it still has images/,
  );
  await api.images.delete({ name: "one" });
  await namespaces.delete({ name: "keeps-images" });
});

test.skipIf(isDebians)("records that come and go leave their file as large as it was", async () => {
  const api = fixture.daemon.v1("growth");
  const sizeAfter = async (count: number) => {
    for (let round = 0; round < count; round += 50) {
      const names = Array.from({ length: 50 }, (_, index) => `growth.test/image-${round + index}:1`);
      const labels = { note: "x".repeat(500) };
      await Promise.all(names.map((name) => api.images.create({ image: image(name, { labels }) })));
      await Promise.all(names.map((name) => api.images.delete({ name })));
    }
    return statSync(join(fixture.daemon.root, "metadata/meta.db")).size;
  };
  const first = await sizeAfter(100);
  const later = await sizeAfter(times(10_000, 400));
  expect(await names(api)).toEqual([]);
  expect(later).toBeLessThan(first + (1 << 20));
});
