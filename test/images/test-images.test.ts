/** The images that the tests make are what other programs take for images. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { directoryPrefix } from "../harness/run-name.js";
import { digestOf, ImageLayout, largeFiles, makeTestImage, type StandardImage } from "../harness/test-images.js";

let dir: string;
let edges: StandardImage;

beforeAll(async () => {
  dir = mkdtempSync(directoryPrefix());
  edges = await makeTestImage(join(dir, "edges"), "edges");
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const entriesOf = (archive: string) =>
  execFileSync("tar", ["-tvf", archive], { encoding: "utf8", maxBuffer: 1 << 26 }).split("\n");

test("blobs have the sizes and digests that the manifest and the configuration tell", () => {
  const { layout, image } = edges;
  const manifest = JSON.parse(readFileSync(layout.path(image.manifest), "utf8"));
  const [named] = JSON.parse(readFileSync(join(layout.dir, "index.json"), "utf8")).manifests;
  expect(named.digest).toBe(image.manifest.digest);
  for (const descriptor of [manifest.config, ...manifest.layers]) {
    const data = readFileSync(layout.path(descriptor));
    expect({ digest: digestOf(data), size: data.length }).toEqual({ digest: descriptor.digest, size: descriptor.size });
  }
  const diffIds = manifest.layers.map((layer: { digest: string }) =>
    digestOf(execFileSync("gzip", ["-dc", layout.path(layer)], { maxBuffer: 1 << 30 })),
  );
  expect(JSON.parse(readFileSync(layout.path(manifest.config), "utf8")).rootfs.diff_ids).toEqual(diffIds);
});

test("made again it is the same", async () => {
  const again = await makeTestImage(join(dir, "again"), "edges");
  expect(again.image.manifest.digest).toBe(edges.image.manifest.digest);
});

test("GNU tar reads the layers", () => {
  const { layout, image } = edges;
  const [lowest, small, top] = image.layers.map(({ descriptor }) => entriesOf(layout.path(descriptor)));
  expect(lowest!.find((line) => line.endsWith(" tmp/"))).toMatch(/^drwxrwxrwt 0\/0 /);
  expect(lowest!.find((line) => line.endsWith(" bin/sh -> busybox"))).toMatch(/^lrwxrwxrwx 0\/0 +0 2023-11-14 /);
  expect(small!.filter((line) => line.endsWith(".txt"))).toHaveLength(500);
  const starts = [/^-rwsr-xr-x .* bin\/su2$/, /^crw-rw-rw- 0\/0 +1,3 .* dev\/null2$/, /^prw-r--r-- .* etc\/fifo$/];
  for (const entry of [
    ...starts,
    / 70000\/70001 .* home2\/u$/,
    /^hrw.* data\/2\/hard2\.txt link to data\/2\/hard\.txt$/,
  ]) {
    expect(top!.filter((line) => entry.test(line))).toHaveLength(1);
  }
});

test("an archive of `docker save`, and one of a layout", async () => {
  const { layout, image } = await makeTestImage(join(dir, "base"), "base");
  const [saved, whole] = [join(dir, "saved.tar"), join(dir, "layout.tar")];
  await layout.dockerArchive(saved, image, ["base:1"]);
  await layout.archive(whole);
  const out = join(dir, "out");
  mkdirSync(out);
  execFileSync("tar", ["-xf", saved, "-C", out]);
  const [{ Config, Layers, RepoTags }] = JSON.parse(readFileSync(join(out, "manifest.json"), "utf8"));
  expect(RepoTags).toEqual(["base:1"]);
  expect(digestOf(readFileSync(join(out, Config)))).toBe(image.config.digest);
  expect(Layers.map((path: string) => digestOf(readFileSync(join(out, path))))).toEqual([image.layers[0]!.diffId]);
  expect(entriesOf(whole).filter((line) => /oci-layout$|index\.json$|[0-9a-f]{64}$/.test(line))).toHaveLength(5);
});

test("few large files, without compression, for another platform, in an index", async () => {
  const layout = new ImageLayout(join(dir, "large"));
  const layer = await layout.layer(largeFiles(10_000_000), "none");
  expect(layer.bytes).toBeGreaterThan(10_000_000);
  const image = layout.image({ layers: [layer], platform: { os: "linux", architecture: "arm", variant: "v7" } });
  const index = layout.index([image, layout.image({ layers: [layer] })]);
  layout.name(index, "registry.test/large:1");
  const { manifests } = JSON.parse(readFileSync(layout.path(index), "utf8"));
  expect(manifests[0].platform).toEqual({ os: "linux", architecture: "arm", variant: "v7" });
  expect(JSON.parse(readFileSync(layout.path(image.config), "utf8"))).toMatchObject({ architecture: "arm" });
});
