/** The diff service: a layer's blob into a snapshot, and what a snapshot has over another as a blob. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { beforeAll, expect, test } from "vitest";
import type { Descriptor } from "../../src/proto/containerd/types/descriptor.js";
import { KEPT, putLayer, unpackLayer } from "../harness/client-unpack.js";
import { isDebians, useContainerd1 } from "../harness/containerd1.js";
import { sha256 } from "../harness/content-writer.js";
import { Mounted } from "../harness/mounted.js";
import { base, directory, edges, file, ImageLayout, opaque, whiteout } from "../harness/test-images.js";
import { type ApiV1, refusal } from "../harness/v1.js";

const fixture = useContainerd1();
const ours = test.skipIf(isDebians);

const snapshotter = "overlayfs";
const GZIPPED = "application/vnd.oci.image.layer.v1.tar+gzip";
const PLAIN = "application/vnd.oci.image.layer.v1.tar";

let layout: ImageLayout;
beforeAll(() => {
  layout = new ImageLayout(join(fixture.daemon.dir, "layout"));
});

const prepare = async (api: ApiV1, key: string, parent = "") =>
  (await api.snapshots.prepare({ snapshotter, key, parent, labels: KEPT })).mounts;
const view = async (api: ApiV1, key: string, parent = "") =>
  (await api.snapshots.view({ snapshotter, key, parent, labels: KEPT })).mounts;
const look = async (api: ApiV1, key: string, parent: string) =>
  new Mounted(fixture.daemon.dir, await view(api, key, parent));

/** A layer's archive without its compression. */
async function archiveOf(api: ApiV1, descriptor: Descriptor): Promise<Buffer> {
  const blob = await get(api, descriptor);
  return descriptor.mediaType === PLAIN ? blob : gunzipSync(blob);
}

const namesOf = (archive: Buffer) =>
  execFileSync("tar", ["-t"], { input: archive, encoding: "utf8" }).split("\n").slice(0, -1);

/** All that is below a directory: type, mode, owner, name, link; how many names each file has. */
const tree = (path: string) => {
  const format = "%y %m %U:%G %P %l";
  const expression = ["-type", "d", "-printf", `${format}\\n`, "-o", "-printf", `${format} %n\\n`];
  return execFileSync("find", [".", "-mindepth", "1", ...expression], { cwd: path, encoding: "utf8" })
    .split("\n")
    .sort();
};

async function get(api: ApiV1, { digest }: Descriptor): Promise<Buffer> {
  using stream = api.readContent(digest);
  await stream.ended;
  return Buffer.concat(stream.messages.map(({ data }) => data));
}

test("a layer is applied to a snapshot, another one on it", async () => {
  const api = fixture.daemon.v1("apply");
  const lower = await unpackLayer(api, layout, { name: "lower" }, [...base(), file("data/0/1.txt"), file("home/old")]);
  expect(lower.diffId).toBe(lower.layer.diffId);
  const upper = await unpackLayer(api, layout, { name: "upper", parent: "lower" }, edges());
  expect(upper.diffId).toBe(upper.layer.diffId);
  using mounted = await look(api, "look", "upper");
  const names = tree(mounted.path);
  expect(names.filter((line) => / (data\/0\/1.txt|home\/old) /.test(line))).toEqual([]);
  expect(names).toContain("f 4755 0:0 bin/su2  1");
  expect(names).toContain("f 644 70000:70001 home2/u  1");
  expect(names).toContain("l 777 0:0 data/3 /data/4 1");
  expect(names).toContain("f 644 0:0 data/2/hard2.txt  2");
  expect(readFileSync(join(mounted.path, "etc/passwd"), "utf8")).toMatch(/^root:/);
  expect(names.length).toBeGreaterThan(50);
  // Written to like any other.
  using top = new Mounted(fixture.daemon.dir, await prepare(api, "top", "upper"));
  writeFileSync(join(top.path, "etc/passwd"), "changed");
  rmSync(join(top.path, "bin"), { recursive: true });
  expect(readFileSync(join(mounted.path, "etc/passwd"), "utf8")).toMatch(/^root:/);
  const usage = await api.snapshots.usage({ snapshotter, key: "lower" });
  expect(usage.size).toBeGreaterThan(0n);
});

test.each([
  ["", GZIPPED],
  [GZIPPED, GZIPPED],
  [PLAIN, PLAIN],
])("what was changed becomes a layer (%s)", async (wanted, mediaType) => {
  const api = fixture.daemon.v1(`diff-${mediaType === PLAIN ? "plain" : wanted === "" ? "default" : "gzip"}`);
  await unpackLayer(api, layout, { name: "base" }, [...base(), file("etc/gone"), directory("data"), file("data/old")]);
  {
    using changed = new Mounted(fixture.daemon.dir, await prepare(api, "changed", "base"));
    writeFileSync(join(changed.path, "etc/passwd"), "changed");
    rmSync(join(changed.path, "etc/gone"));
    rmSync(join(changed.path, "data"), { recursive: true });
    mkdirSync(join(changed.path, "data/new"), { recursive: true });
    writeFileSync(join(changed.path, "data/new/ü"), "x".repeat(100_000));
  }
  const left = await view(api, "below", "base");
  const { mounts: right } = await api.snapshots.mounts({ snapshotter, key: "changed" });
  const labels = { ...KEPT, mine: "1" };
  const { diff } = await api.diff.diff({ left, right, mediaType: wanted, ref: "the ref", labels });
  expect(diff!.mediaType).toBe(mediaType);
  const blob = await get(api, diff!);
  expect([sha256(blob), BigInt(blob.length)]).toEqual([diff!.digest, diff!.size]);
  const { info } = await api.content.info({ digest: diff!.digest });
  const archive = await archiveOf(api, diff!);
  const uncompressed = mediaType === PLAIN ? {} : { "containerd.io/uncompressed": sha256(archive) };
  expect(info!.labels).toEqual({ ...labels, ...uncompressed });
  expect((await api.content.listStatuses({})).statuses).toEqual([]);
  const listed = namesOf(archive);
  expect(listed).toContain("etc/.wh.gone");
  // Applied elsewhere it is the same.
  const onto = await prepare(api, "again", "base");
  const { applied } = await api.diff.apply({ diff, mounts: onto });
  expect([applied!.digest, applied!.size]).toEqual([sha256(archive), BigInt(archive.length)]);
  await api.snapshots.commit({ snapshotter, name: "same", key: "again", labels: KEPT });
  await api.snapshots.commit({ snapshotter, name: "first", key: "changed", labels: KEPT });
  using first = await look(api, "look 1", "first");
  using same = await look(api, "look 2", "same");
  expect(tree(same.path)).toEqual(tree(first.path));
  expect(readFileSync(join(same.path, "data/new/ü"), "utf8")).toBe("x".repeat(100_000));
  // And so is what a committed one has.
  const again = await api.diff.diff({ left, right: await view(api, "view", "same"), mediaType: wanted, labels: KEPT });
  const etc = (names: string[]) => names.filter((name) => name.startsWith("etc/")).sort();
  expect(etc(namesOf(await archiveOf(api, again.diff!)))).toEqual(etc(listed));
});

ours("what has changed after source_date_epoch is told as of then, and so is what was removed", async () => {
  const api = fixture.daemon.v1("diff-epoch");
  await unpackLayer(api, layout, { name: "base" }, [...base(), file("etc/gone")]);
  const [epoch, old] = [1_000_000_000, 900_000_000];
  {
    using changed = new Mounted(fixture.daemon.dir, await prepare(api, "changed", "base"));
    for (const name of ["new", "old"]) writeFileSync(join(changed.path, name), name);
    utimesSync(join(changed.path, "old"), old, old);
    rmSync(join(changed.path, "etc/gone"));
  }
  const left = await view(api, "below", "base");
  const { mounts: right } = await api.snapshots.mounts({ snapshotter, key: "changed" });
  const sourceDateEpoch = { seconds: BigInt(epoch), nanos: 0 };
  const { diff } = await api.diff.diff({ left, right, mediaType: PLAIN, labels: KEPT, sourceDateEpoch });
  const archive = await archiveOf(api, diff!);
  const listed = execFileSync("tar", ["-tv", "--utc", "--full-time"], { input: archive, encoding: "utf8" });
  const times = Object.fromEntries(
    listed
      .trimEnd()
      .split("\n")
      .map((line) => line.split(/\s+/))
      .map(([, , , day, time, name]) => [name, Date.parse(`${day}T${time}Z`) / 1000]),
  );
  expect(times).toMatchObject({ new: epoch, old, "etc/.wh.gone": epoch, "etc/": epoch });
});

test("the difference to nothing, and to itself", async () => {
  const api = fixture.daemon.v1("nothing");
  {
    using only = new Mounted(fixture.daemon.dir, await prepare(api, "only"));
    writeFileSync(join(only.path, "file"), "text");
  }
  const left = await view(api, "nothing");
  const { mounts: right } = await api.snapshots.mounts({ snapshotter, key: "only" });
  const { diff } = await api.diff.diff({ left, right, labels: KEPT });
  expect(namesOf(await archiveOf(api, diff!)).filter((name) => !/^(\.?\/)?$/.test(name))).toEqual(["file"]);
  await api.snapshots.commit({ snapshotter, name: "base", key: "only", labels: KEPT });
  const [one, two] = [await view(api, "one", "base"), await view(api, "two", "base")];
  const { diff: none } = await api.diff.diff({ left: one, right: two, labels: KEPT });
  expect(namesOf(await archiveOf(api, none!))).toEqual([]);
});

test("what can't be applied says why, and leaves nothing", async () => {
  const api = fixture.daemon.v1("refused");
  const mounts = await prepare(api, "key");
  const layer = await layout.layer([file("file", "text")]);
  const diff = await putLayer(api, layout, layer);
  const absent = { ...diff, digest: sha256("absent") };
  expect(await refusal(api.diff.apply({ diff: absent, mounts }))).toMatch(/^NOT_FOUND: .*not found$/s);
  const data = Buffer.from("no archive".repeat(100));
  using writer = api.writeContent();
  const digest = sha256(data);
  await writer.commit({ ref: "bad", expected: digest, total: BigInt(data.length), data, labels: KEPT });
  const bad = { ...diff, digest, size: BigInt(data.length) };
  const words = await refusal(api.diff.apply({ diff: bad, mounts }));
  if (!isDebians) expect(words).toMatch(new RegExp(`^INVALID_ARGUMENT: .*${digest.slice(0, 19)}`));
  expect(await refusal(api.diff.apply({ diff: { ...diff, mediaType: "text/plain" }, mounts }))).toMatch(/text\/plain/);
  expect(await refusal(api.diff.diff({ left: mounts, right: mounts, mediaType: "text/plain" }))).toMatch(
    /^UNIMPLEMENTED: .*unsupported diff media type: text\/plain/,
  );
  const { applied } = await api.diff.apply({ diff, mounts });
  expect(applied!.digest).toBe(layer.diffId);
});

ours("only to an empty active snapshot of the namespace", async () => {
  const api = fixture.daemon.v1("strict");
  const diff = await putLayer(api, layout, await layout.layer([file("file", "text")]));
  const mounts = await prepare(api, "key");
  const foreign = { type: "bind", source: join(fixture.daemon.dir, "elsewhere"), target: "", options: ["rw"] };
  for (const [words, wrong] of [
    ["these mounts are of no snapshot of namespace strict", [foreign]],
    ["these mounts are of no snapshot of namespace strict", []],
    ["these mounts are of no snapshot of namespace strict", [...mounts, foreign]],
    ["these mounts are of no snapshot of namespace strict", await prepare(fixture.daemon.v1("strict-2"), "key")],
  ] as const)
    expect(await refusal(api.diff.apply({ diff, mounts: [...wrong] }))).toMatch(`FAILED_PRECONDITION: ${words}`);
  writeFileSync(join(mounts[0]!.source, "written"), "");
  expect(await refusal(api.diff.apply({ diff, mounts }))).toBe(
    "FAILED_PRECONDITION: snapshot key: a layer is applied to an empty active one: something was written to this one: failed precondition",
  );
  rmSync(join(mounts[0]!.source, "written"));
  await api.diff.apply({ diff, mounts });
  // Once more is nothing new, another one is.
  await api.diff.apply({ diff, mounts });
  const other = await putLayer(api, layout, await layout.layer([file("other", "text")]));
  expect(await refusal(api.diff.apply({ diff: other, mounts }))).toMatch("this one has another layer");
  expect(await refusal(api.diff.apply({ mounts }))).toBe(
    "INVALID_ARGUMENT: a descriptor of the diff is required: invalid argument",
  );
});

ours("a directory on a layer: what is written after a layer was applied", async () => {
  const api = fixture.daemon.v1("both");
  await unpackLayer(api, layout, { name: "base" }, [directory("d"), file("d/a", "base"), file("d/b", "base")]);
  const diff = await putLayer(
    api,
    layout,
    await layout.layer([file("d/b", "layer"), file("d/c", "layer"), whiteout("x")]),
  );
  const mounts = await prepare(api, "key", "base");
  await api.diff.apply({ diff, mounts });
  {
    const { mounts } = await api.snapshots.mounts({ snapshotter, key: "key" });
    using mounted = new Mounted(fixture.daemon.dir, mounts);
    expect(readdirSync(join(mounted.path, "d")).sort()).toEqual(["a", "b", "c"]);
    writeFileSync(join(mounted.path, "d/c"), "directory");
    rmSync(join(mounted.path, "d/a"));
  }
  await api.snapshots.commit({ snapshotter, name: "both", key: "key", labels: KEPT });
  using mounted = await look(api, "look", "both");
  expect(readdirSync(join(mounted.path, "d")).sort()).toEqual(["b", "c"]);
  expect(readFileSync(join(mounted.path, "d/b"), "utf8")).toBe("layer");
  expect(readFileSync(join(mounted.path, "d/c"), "utf8")).toBe("directory");
  await unpackLayer(api, layout, { name: "over", parent: "both" }, [opaque("d"), file("d/z", "over")]);
  using over = await look(api, "look over", "over");
  expect(readdirSync(join(over.path, "d"))).toEqual(["z"]);
});
