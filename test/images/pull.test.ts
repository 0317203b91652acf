/** Images from registries, pulled by the daemon itself; what is fetched twice or gone on with, what is left when a pull does not end. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startContainerd1, useContainerd1 } from "../harness/containerd1.js";
import { hasRegistry, startRegistry, USER, useRegistry } from "../harness/registry.js";
import { type RegistryProxy, startProxy } from "../harness/registry-proxy.js";
import { busybox } from "../harness/rootfs.js";
import { directoryPrefix } from "../harness/run-name.js";
import {
  DEFAULT_PLATFORM,
  directory,
  file,
  ImageLayout,
  largeFiles,
  makeTestImage,
  type StandardImage,
  type TestImage,
} from "../harness/test-images.js";
import { Transfers } from "../harness/transfer.js";
import { contentOf, imageNames, labelsOf, lookInto, SNAPSHOTTER, targetOf } from "../harness/unpacked.js";
import { type ApiV1, refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

describe.skipIf(!hasRegistry)("pull", () => {
  const fixture = useContainerd1();
  const registries = useRegistry();
  let proxy: RegistryProxy;
  let dir: string;
  /** Two layers, a large and a small one. */
  let large: { layout: ImageLayout; image: TestImage };
  let small: StandardImage;

  beforeAll(async () => {
    dir = fixture.daemon.dir;
    proxy = await startProxy(registries.registry);
    small = await makeTestImage(join(dir, "small"), "base");
    const layout = new ImageLayout(join(dir, "large"));
    const layers = [
      await layout.layer(largeFiles(8 << 20)),
      await layout.layer([directory("more"), file("more/one", "1")]),
    ];
    large = { layout, image: layout.image({ layers }) };
    layout.name(large.image.manifest, "large:1");
  });
  afterAll(async () => {
    await proxy?.[Symbol.asyncDispose]();
  });

  function inNamespace(name: string, daemon = fixture.daemon): { api: ApiV1; transfers: Transfers } {
    const api = daemon.v1(name);
    return { api, transfers: new Transfers(api) };
  }

  /** Puts an image into the registry under a name that no other test has. */
  async function put(name: string, { layout }: { layout: ImageLayout } = small): Promise<string> {
    await registries.registry.push(layout.dir, name);
    return `${proxy.host}/${name}`;
  }

  /** Nothing is under way any more. */
  async function expectOnly(api: ApiV1, names: string[]): Promise<void> {
    expect(await imageNames(api)).toEqual(names);
    expect((await api.leases.list()).leases).toEqual([]);
    expect((await api.content.listStatuses()).statuses).toEqual([]);
  }

  test("an image comes by its tag, unpacked, with the labels of containerd's clients", async () => {
    const name = await put("plain/image:1");
    const { api, transfers } = inNamespace("plain");
    const events = await transfers.pull(name, { labels: { mine: "yes" } });
    await expectOnly(api, [name]);
    const { image } = small;
    expect((await api.images.get({ name })).image).toMatchObject({ labels: { mine: "yes" } });
    expect(await targetOf(api, name)).toMatchObject({
      digest: image.manifest.digest,
      size: BigInt(image.manifest.size),
    });
    const source = { [`containerd.io/distribution.source.${proxy.host}`]: "plain/image" };
    const [layer] = image.layers;
    expect(await labelsOf(api, image.manifest.digest)).toEqual({
      ...source,
      "containerd.io/gc.ref.content.config": image.config.digest,
      "containerd.io/gc.ref.content.l.0": layer!.descriptor.digest,
    });
    expect(await labelsOf(api, image.config.digest)).toEqual({
      ...source,
      "containerd.io/gc.ref.snapshot.overlayfs": image.chainIds[0],
    });
    expect(await labelsOf(api, layer!.descriptor.digest)).toEqual({
      ...source,
      "containerd.io/uncompressed": layer!.diffId,
    });
    await lookInto(fixture.daemon, api, image.chainIds[0]!, (root) =>
      expect(readFileSync(join(root, "bin/busybox")).equals(readFileSync(busybox()))).toBe(true),
    );
    const told = events.map(({ event, name: about }) => `${event} ${about}`.trim());
    expect(told[0]).toBe(`Resolving from ${name}`);
    expect(told[1]).toBe(`Pulling from ${name}`);
    expect(told.slice(-2)).toEqual([`saved ${name}`, `Completed pull from ${name}`]);
    const ofLayer = events.filter((event) => event.name === `layer-${layer!.descriptor.digest}`);
    expect(ofLayer.at(-1)).toMatchObject({
      event: "extracted",
      parents: [name],
      total: BigInt(layer!.descriptor.size),
      desc: { digest: layer!.descriptor.digest },
    });
  });

  test("what is there is not fetched again, nor by another namespace", async () => {
    const name = await put("again/image:1", large);
    const { layers } = large.image;
    await inNamespace("again").transfers.pull(name);
    const before = layers.map(({ descriptor }) => proxy.fetches(descriptor.digest).length);
    const other = inNamespace("again-other");
    const events = await other.transfers.pull(name, { name: "other.test/name:1" });
    await inNamespace("again").transfers.pull(name);
    expect(layers.map(({ descriptor }) => proxy.fetches(descriptor.digest).length)).toEqual(before);
    await expectOnly(other.api, ["other.test/name:1"]);
    expect(events.filter(({ event }) => event === "downloading")).toEqual([]);
    expect((await other.api.listSnapshots(SNAPSHOTTER)).map((info) => info.name).sort()).toEqual(
      [...large.image.chainIds].sort(),
    );
  });

  test("one that many want at the same time, in several namespaces, is fetched once", async () => {
    const layout = new ImageLayout(join(dir, "once"));
    const layers = [await layout.layer(largeFiles(1 << 20)), await layout.layer([file("once")])];
    const image = layout.image({ layers });
    layout.name(image.manifest, "once:1");
    const name = await put("once/image:1", { layout });
    const [first] = layers;
    const release = proxy.hold(first!.descriptor.digest, 10_000);
    const namespaces = Array.from({ length: 9 }, (_, n) => inNamespace(`once-${n % 3}`));
    const pulls = namespaces.map(({ transfers }) => transfers.pull(name));
    await proxy.waitForFetch(first!.descriptor.digest);
    // All of them have come as far as they can: each waits for the one that is held up.
    await eventually(() => proxy.asked.filter(({ path }) => path.startsWith("once/image/manifests/1")).length >= 9);
    await eventually(() => proxy.fetches(layers[1]!.descriptor.digest).length > 0);
    release();
    await Promise.all(pulls);
    for (const { descriptor } of layers) expect(proxy.fetches(descriptor.digest)).toHaveLength(1);
    for (const { api } of namespaces.slice(0, 3)) {
      await expectOnly(api, [name]);
      expect(await api.listSnapshots(SNAPSHOTTER)).toHaveLength(2);
    }
  });

  test("a layer that is not to be distributed, and is not in the registry: an error that says so", async () => {
    const layout = new ImageLayout(join(dir, "private"));
    const layer = await layout.layer([file("private")]);
    layer.descriptor.mediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    layout.name(layout.image({ layers: [layer] }).manifest, "private:1");
    const name = await put("private/image:1", { layout });
    const { digest } = layer.descriptor;
    const { status } = await registries.registry.request("DELETE", `/v2/private/image/blobs/${digest}`);
    expect(status).toBe(202);
    const { api, transfers } = inNamespace("private");
    expect(await refusal(transfers.pull(name))).toContain(`layer ${digest} is not to be distributed (`);
    expect(await imageNames(api)).toEqual([]);
  });

  test("of an image for many platforms only what is wanted comes; what is missing is told with what there is", async () => {
    const layout = new ImageLayout(join(dir, "index"));
    const other = { os: "linux", architecture: "s390x" };
    const images: TestImage[] = [];
    for (const platform of [other, DEFAULT_PLATFORM])
      images.push(layout.image({ layers: [await layout.layer([file(platform.architecture)])], platform }));
    layout.name(layout.index(images, { isDockers: true }), "index:1");
    const name = await put("index/image:1", { layout });
    const { api, transfers } = inNamespace("index");
    await transfers.pull(name);
    await expectOnly(api, [name]);
    const index = (await targetOf(api, name)).digest;
    const [foreign, ours] = images as [TestImage, TestImage];
    const all = [index, ours.manifest.digest, ours.config.digest, ours.layers[0]!.descriptor.digest];
    expect((await contentOf(api)).sort()).toEqual(all.sort());
    expect(await labelsOf(api, index)).toMatchObject({
      "containerd.io/gc.ref.content.m.0": foreign.manifest.digest,
      "containerd.io/gc.ref.content.m.1": ours.manifest.digest,
    });
    expect(await refusal(transfers.pull(name, { platforms: [{ os: "windows", architecture: "amd64" }] }))).toBe(
      `NOT_FOUND: image ${name} has nothing for windows/amd64: it has linux/s390x, linux/${DEFAULT_PLATFORM.architecture}: not found`,
    );
    // One that is for this machine alone, wanted for another.
    const single = await put("index/single:1");
    expect(await refusal(transfers.pull(single, { platforms: [other] }))).toMatch(
      new RegExp(`has nothing for linux/s390x: it has linux/${DEFAULT_PLATFORM.architecture}`),
    );
    // All of it, nothing unpacked.
    const everything = inNamespace("index-all");
    await everything.transfers.pull(name, { platforms: [], unpacks: [] });
    expect(await contentOf(everything.api)).toHaveLength(7);
    expect(await everything.api.listSnapshots(SNAPSHOTTER)).toEqual([]);
  });

  test("connections that break are gone on with", async () => {
    const layout = new ImageLayout(join(dir, "breaks"));
    const layer = await layout.layer(largeFiles(3 << 20));
    const image = layout.image({ layers: [layer] });
    layout.name(image.manifest, "breaks:1");
    const name = await put("breaks/image:1", { layout });
    proxy.cut(layer.descriptor.digest, 300_000, 2);
    const { api, transfers } = inNamespace("breaks");
    await transfers.pull(name);
    await expectOnly(api, [name]);
    const ranges = proxy.fetches(layer.descriptor.digest);
    expect(ranges[0]).toBeUndefined();
    expect(ranges.slice(1).every((range) => /^bytes=[1-9]\d*-/.test(range ?? ""))).toBe(true);
    expect(ranges.length).toBeGreaterThan(1);
  });

  test("a pull that is called off stops at once, keeps what is whole for a day, and is gone on with", async () => {
    const layout = new ImageLayout(join(dir, "cancel"));
    const layers = [await layout.layer(largeFiles(2 << 20)), await layout.layer([file("cancel")])];
    const image = layout.image({ layers });
    layout.name(image.manifest, "cancel:1");
    const name = await put("cancel/image:1", { layout });
    const [slow, quick] = layers.map(({ descriptor }) => descriptor.digest) as [string, string];
    const release = proxy.hold(slow, 500_000);
    const { api, transfers } = inNamespace("cancel");
    const controller = new AbortController();
    const pull = refusal(transfers.pull(name, { signal: controller.signal }));
    const statuses = async () => (await api.content.listStatuses()).statuses;
    await eventually(async () => (await contentOf(api)).includes(quick));
    await eventually(async () => (await statuses()).some(({ offset }) => offset >= 400_000n));
    controller.abort();
    expect(await pull).toMatch(/^CANCELLED/);
    const { leases } = await api.leases.list();
    expect(leases).toHaveLength(1);
    const left = Date.parse(leases[0]!.labels["containerd.io/gc.expire"]!) - Date.now();
    expect(left).toBeGreaterThan(23 * 3600_000);
    expect(left).toBeLessThan(25 * 3600_000);
    expect(await imageNames(api)).toEqual([]);
    release();
    await transfers.pull(name);
    await expectOnly(api, [name]);
    expect(proxy.fetches(quick)).toHaveLength(1);
    expect(proxy.fetches(slow).slice(1)).toEqual([expect.stringMatching(/^bytes=[4-9]\d{5}-/)]);
  });

  test("a killed daemon's pull is gone on with by the next one's", async () => {
    const layout = new ImageLayout(join(dir, "killed"));
    const layers = [await layout.layer(largeFiles(2_200_000)), await layout.layer([file("killed")])];
    const image = layout.image({ layers });
    layout.name(image.manifest, "killed:1");
    const name = await put("killed/image:1", { layout });
    const [slow, quick] = layers.map(({ descriptor }) => descriptor.digest) as [string, string];
    await using daemon = await startContainerd1();
    const release = proxy.hold(slow, 500_000);
    {
      const { api, transfers } = inNamespace("killed", daemon);
      const pull = transfers.pull(name).catch(() => {});
      await eventually(async () => (await contentOf(api)).includes(quick));
      await eventually(async () =>
        (await api.content.listStatuses()).statuses.some(({ offset }) => offset >= 400_000n),
      );
      await daemon.restart({ kill: true });
      await pull;
    }
    release();
    const { api, transfers } = inNamespace("killed", daemon);
    expect(await imageNames(api)).toEqual([]);
    await transfers.pull(name);
    await expectOnly(api, [name]);
    expect(proxy.fetches(quick)).toHaveLength(1);
    expect(proxy.fetches(slow).slice(1)).toEqual([expect.stringMatching(/^bytes=[4-9]\d{5}-/)]);
    await lookInto(daemon, api, image.chainIds[1]!, (root) => readFileSync(join(root, "big/3")));
  });

  test("with --discard-blobs layers are kept unpacked only, and not fetched again", async () => {
    const name = await put("discard/image:1");
    await using daemon = await startContainerd1({ flags: ["--discard-blobs"] });
    const { api, transfers } = inNamespace("discard", daemon);
    const { image } = small;
    const layer = image.layers[0]!.descriptor.digest;
    await transfers.pull(name);
    await expectOnly(api, [name]);
    expect((await contentOf(api)).sort()).toEqual([image.manifest.digest, image.config.digest].sort());
    await lookInto(daemon, api, image.chainIds[0]!, (root) => readFileSync(join(root, "bin/busybox")));
    const fetched = proxy.fetches(layer).length;
    await transfers.pull(name);
    // In another namespace the layer file is there as well.
    const other = inNamespace("discard-other", daemon);
    await other.transfers.pull(name);
    expect((await other.api.listSnapshots(SNAPSHOTTER)).map((info) => info.name)).toEqual(image.chainIds);
    expect(proxy.fetches(layer)).toHaveLength(fetched);
    const gone = new RegExp(`^FAILED_PRECONDITION: image ${name}: layer ${layer} .*--discard-blobs`);
    expect(await refusal(transfers.push(name, `${registries.registry.host}/discard/elsewhere:1`))).toMatch(gone);
    expect(await refusal(transfers.export([name], join(dir, "discard.tar")))).toMatch(gone);
  });

  test("a full disk is a clear error that gives its space back, and the next pull goes through", async () => {
    const name = await put("full/large:1", large);
    const fits = await put("full/small:1");
    const disk = mkdtempSync(`${directoryPrefix()}disk-`);
    // Large enough for the store and the small image, not for eight megabytes twice: packed, and as a layer file.
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=9m", "ctd-test", disk]);
    try {
      await using daemon = await startContainerd1({ root: join(disk, "root") });
      const { api, transfers } = inNamespace("full", daemon);
      expect(await refusal(transfers.pull(name))).toMatch(/^RESOURCE_EXHAUSTED: .*no space left on device/);
      await expectOnly(api, []);
      await eventually(async () => (await contentOf(api)).length === 0, { what: "what was fetched to go" });
      await transfers.pull(fits);
      await expectOnly(api, [fits]);
      await lookInto(daemon, api, small.image.chainIds[0]!, (root) => readFileSync(join(root, "bin/busybox")));
    } finally {
      execFileSync("umount", ["--lazy", disk]);
      rmdirSync(disk);
    }
  });

  test("what is no image is refused", async () => {
    const { registry } = registries;
    const { api, transfers } = inNamespace("refused");
    expect(await refusal(transfers.pull(`${proxy.host}/no/such:1`))).toMatch(/^NOT_FOUND: /);
    expect(await refusal(transfers.pull("a.test/CASE"))).toMatch(/^INVALID_ARGUMENT: .*a.test\/CASE/);
    const self = Buffer.from(JSON.stringify({ schemaVersion: 2, config: {}, layers: [] }));
    await registry
      .pushManifest("refused/empty", "1", "application/vnd.oci.image.manifest.v1+json", self)
      .catch(() => {});
    await expectOnly(api, []);
  });

  test("layers that are more than the config says are refused", async () => {
    const layout = new ImageLayout(join(dir, "more-layers"));
    const layers = [await layout.layer([file("a")]), await layout.layer([file("b")])];
    const image = layout.image({ layers });
    const { config } = layout.image({ layers: layers.slice(0, 1) });
    const parts = layers.map(({ descriptor }) => descriptor);
    const mediaType = "application/vnd.oci.image.manifest.v1+json";
    const manifest = layout.json({ schemaVersion: 2, mediaType, config, layers: parts }, mediaType);
    layout.name({ ...image.manifest, ...manifest }, "more:1");
    const name = await put("more/layers:1", { layout });
    const { api, transfers } = inNamespace("more-layers");
    expect(await refusal(transfers.pull(name))).toBe(
      `INVALID_ARGUMENT: manifest ${manifest.digest} has 2 layers, and its config ${config.digest} 1 diff ids: invalid argument`,
    );
    expect(await imageNames(api)).toEqual([]);
  });
});

test.skipIf(!hasRegistry)("credentials come over a stream, when the registry wants to know", async () => {
  await using registry = await startRegistry({ htpasswd: true });
  await using daemon = await startContainerd1();
  const { layout } = await makeTestImage(join(daemon.dir, "private"), "base");
  await registry.push(layout.dir, "private/image:1");
  const name = `${registry.host}/private/image:1`;
  const api = daemon.v1("private");
  const transfers = new Transfers(api);
  const asked: string[] = [];
  expect(await refusal(transfers.pull(name))).toMatch(/^UNAUTHENTICATED: .*without credentials/);
  const wrong = await refusal(transfers.pull(name, { username: USER.username, secret: "of nobody", asked }));
  expect(wrong).toMatch(/^UNAUTHENTICATED: /);
  expect(wrong).not.toContain("of nobody");
  expect(asked).toEqual([`${registry.host} ${name}`]);
  await transfers.pull(name, { username: USER.username, secret: USER.password });
  expect(await imageNames(api)).toEqual([name]);
  await transfers.push(name, `${registry.host}/private/copy:2`, { username: USER.username, secret: USER.password });
  expect((await registry.request("GET", "/v2/private/copy/tags/list")).body.toString()).toContain('"2"');
  expect(daemon.log).not.toContain(USER.password);
});
