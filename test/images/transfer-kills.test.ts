/** Daemons that are killed at any moment of pulls and imports: what the next one finds is whole, and it goes on from there. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Random } from "../faults/random.js";
import { faultsOfRoot } from "../harness/check-root.js";
import { startDaemon, type TestDaemon } from "../harness/daemon.js";
import { times } from "../harness/extent.js";
import { mountsBelow } from "../harness/mounted.js";
import { hasRegistry, startRegistry, type TestRegistry } from "../harness/registry.js";
import { startProxy } from "../harness/registry-proxy.js";
import { base, file, ImageLayout, largeFiles, smallFiles, type TestImage } from "../harness/test-images.js";
import { Transfers } from "../harness/transfer.js";
import { imageNames, lookInto, SNAPSHOTTER } from "../harness/unpacked.js";
import type { ApiV1 } from "../harness/v1.js";
import { eventually, sleep } from "../harness/wait.js";

/** A base that both have, and what each has alone; all of it together takes long enough to be killed in the middle. */
async function makeImages(dir: string): Promise<{ layout: ImageLayout; images: TestImage[] }> {
  const layout = new ImageLayout(dir);
  const [below, large] = [await layout.layer(base()), await layout.layer(largeFiles(4 << 20))];
  const images = [
    layout.image({ layers: [below, large, await layout.layer(smallFiles(2000))] }),
    layout.image({ layers: [below, large, await layout.layer([file("tmp/depends", "on what is below")])] }),
  ];
  return { layout, images };
}

/** Once nothing is wanted any more, nothing is there any more. */
async function expectEmpty(daemon: TestDaemon, ...namespaces: ApiV1[]): Promise<void> {
  for (const api of namespaces) {
    for (const name of await imageNames(api)) await api.images.delete({ name, sync: true });
    for (const { id } of (await api.leases.list()).leases) await api.leases.delete({ id, sync: true });
  }
  await eventually(
    async () => {
      for (const api of namespaces) {
        expect(await api.listSnapshots(SNAPSHOTTER)).toEqual([]);
        expect((await api.content.listStatuses()).statuses).toEqual([]);
      }
      expect(readdirSync(join(daemon.root, "content/blobs/sha256"))).toEqual([]);
      expect(readdirSync(join(daemon.root, "layers")).filter((name) => name !== "tmp")).toEqual([]);
      expect(readdirSync(join(daemon.root, "layers/tmp"))).toEqual([]);
      expect(mountsBelow(daemon.root)).toEqual([]);
      return true;
    },
    { what: "an empty store" },
  );
}

test.skipIf(!hasRegistry)("kills during pulls and imports", async () => {
  await using registry = await startRegistry();
  await using proxy = await startProxy(registry);
  await using daemon = await startDaemon();
  const { layout, images } = await makeImages(join(daemon.dir, "images"));
  const archive = join(daemon.dir, "images.tar");
  for (const [number, image] of images.entries()) {
    layout.name(image.manifest, `a.test/imported:${number}`);
    await layout.archive(archive);
    await pushImage(registry, layout, image, `kills/image:${number}`);
  }
  const random = new Random(Number(process.env.CONTAINERD_TS_TEST_SEED ?? 5));
  for (let round = 0; round < times(100, 4); round++) {
    const api = daemon.v1("kills");
    const work = [
      ...images.map((_, number) => new Transfers(api).pull(`${proxy.host}/kills/image:${number}`)),
      new Transfers(daemon.v1("kills-import")).import(archive),
    ].map((transfer) => transfer.catch(() => {}));
    // From before the first byte until about when all is done.
    await sleep(random.integer(0, 1500));
    await daemon.kill();
    await Promise.all(work);
    expect(await faultsOfRoot(daemon.root, { ofKilled: true })).toEqual([]);
    await daemon.start();
    if (random.chance(0.5)) continue;
    // What is done now goes to its end, whatever was there.
    const next = daemon.v1("kills");
    const others = daemon.v1("kills-import");
    for (const number of images.keys()) await new Transfers(next).pull(`${proxy.host}/kills/image:${number}`);
    await new Transfers(others).import(archive);
    await lookInto(daemon, next, images[0]!.chainIds[2]!, (root) =>
      expect(readFileSync(join(root, "data/19/99.txt"), "utf8")).toMatch(/^19 99 /),
    );
    await lookInto(daemon, others, images[1]!.chainIds[2]!, (root) => readFileSync(join(root, "tmp/depends")));
    expect((await next.leases.list()).leases).toEqual([]);
    if (random.chance(0.5)) await expectEmpty(daemon, next, others);
  }
  await expectEmpty(daemon, daemon.v1("kills"), daemon.v1("kills-import"));
  await daemon.kill();
  expect(await faultsOfRoot(daemon.root)).toEqual([]);
});

async function pushImage(registry: TestRegistry, layout: ImageLayout, image: TestImage, name: string): Promise<void> {
  const [path = "", tag = ""] = name.split(":");
  for (const descriptor of [image.config, ...image.layers.map((layer) => layer.descriptor)])
    await registry.pushBlob(path, readFileSync(layout.path(descriptor)));
  await registry.pushManifest(path, tag, image.manifest.mediaType, readFileSync(layout.path(image.manifest)));
}
