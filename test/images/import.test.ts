/** Images from archives: OCI layouts, what `docker save` writes, root file systems; also those that nobody should trust. */
import { execFileSync } from "node:child_process";
import { createReadStream, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { beforeAll, describe, expect, test } from "vitest";
import { copyBuild } from "../faults/private-build.js";
import { isDebians, useContainerd1 } from "../harness/containerd1.js";
import { startDaemon } from "../harness/daemon.js";
import { applets, busybox } from "../harness/rootfs.js";
import {
  base,
  DEFAULT_PLATFORM,
  digestOf,
  directory,
  file,
  ImageLayout,
  type LayerEntries,
  type LayerEntry,
  makeTestImage,
  type StandardImage,
  symlink,
  tarOf,
  whiteout,
} from "../harness/test-images.js";
import { type ImportOptions, Transfers } from "../harness/transfer.js";
import { imageNames, labelsOf, lookInto, SNAPSHOTTER, targetOf } from "../harness/unpacked.js";
import { type ApiV1, refusal } from "../harness/v1.js";
import { eventually } from "../harness/wait.js";

const fixture = useContainerd1();

let dir: string;
let standard: StandardImage;
let archive: string;

beforeAll(async () => {
  dir = fixture.daemon.dir;
  standard = await makeTestImage(join(dir, "standard"), "base");
  archive = join(dir, "standard.tar");
  await standard.layout.archive(archive);
});

/** A namespace of the test's own, and transfers of it. */
function inNamespace(name: string): { api: ApiV1; transfers: Transfers } {
  const api = fixture.daemon.v1(name);
  return { api, transfers: new Transfers(api) };
}

async function bytesOf(entries: LayerEntries): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of tarOf(entries) as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes;
}

/** Nothing half done is left of an import that was refused: no image, no ingest, nothing that the next one would meet. */
async function expectNothing(api: ApiV1): Promise<void> {
  expect(await imageNames(api)).toEqual([]);
  await eventually(async () => (await api.content.listStatuses()).statuses.length === 0, { what: "no ingests" });
  expect(await api.listSnapshots(SNAPSHOTTER)).toEqual([]);
}

async function refused(name: string, bytes: Buffer | string, options: ImportOptions = {}): Promise<string> {
  const { api, transfers } = inNamespace(name);
  const data = typeof bytes === "string" ? bytes : pieces(bytes);
  const said = await refusal(transfers.import(data, { name: "a.test/b:c", ...options }));
  await expectNothing(api);
  return said;
}

describe("an OCI layout", () => {
  test("becomes an image by the name in it, unpacked, with the labels that keep it together", async () => {
    const { api, transfers } = inNamespace("layout");
    const events = await transfers.import(archive);
    const { image, name } = standard;
    expect(await imageNames(api)).toEqual([name]);
    expect(await targetOf(api, name)).toMatchObject({
      digest: image.manifest.digest,
      mediaType: image.manifest.mediaType,
    });
    const layer = image.layers[0]!;
    expect(await labelsOf(api, image.manifest.digest)).toEqual({
      "containerd.io/gc.ref.content.config": image.config.digest,
      "containerd.io/gc.ref.content.l.0": layer.descriptor.digest,
    });
    expect(await labelsOf(api, image.config.digest)).toEqual({
      "containerd.io/gc.ref.snapshot.overlayfs": image.chainIds[0],
    });
    expect(await labelsOf(api, layer.descriptor.digest)).toEqual({ "containerd.io/uncompressed": layer.diffId });
    await lookInto(fixture.daemon, api, image.chainIds[0]!, (root) => {
      expect(readFileSync(join(root, "bin/busybox")).equals(readFileSync(busybox()))).toBe(true);
      expect(execFileSync(join(root, "bin/busybox"), ["echo", "hello"], { encoding: "utf8" })).toBe("hello\n");
    });
    expect((await api.leases.list()).leases).toEqual([]);
    expect((await api.content.listStatuses()).statuses).toEqual([]);
    const told = events.map((event) => event.event);
    expect(told[0]).toBe("Importing");
    expect(told.slice(-1)).toEqual(["Completed import"]);
    expect(events.find(({ event }) => event === "saved")).toMatchObject({ name });
    expect(
      events.find((event) => event.name === `layer-${layer.descriptor.digest}` && event.event === "extracted"),
    ).toBeDefined();
    // Once more: nothing changes.
    await transfers.import(archive);
    expect(await imageNames(api)).toEqual([name]);
  });

  test("compressed by gzip, in the order of a directory", async () => {
    const { api, transfers } = inNamespace("gzip");
    const path = join(dir, "compressed.tgz");
    execFileSync("tar", ["-C", standard.layout.dir, "-czf", path, "."]);
    await transfers.import(path);
    expect(await imageNames(api)).toEqual([standard.name]);
  });

  test("gets the names that are asked for", async () => {
    const { api, transfers } = inNamespace("names");
    const { digest } = standard.image.manifest;
    await transfers.import(archive, { name: "given.test/one:1", labels: { a: "b" } });
    expect((await api.images.list()).images).toMatchObject([{ name: "given.test/one:1", labels: { a: "b" } }]);
    await transfers.import(archive, { rules: [{ name: "prefix.test/two", isPrefix: true, addDigest: true }] });
    expect(await imageNames(api)).toEqual(["given.test/one:1", `prefix.test/two@${digest}`, standard.name].sort());
  });

  test("of several images, one that is for another platform, and an index", async () => {
    const { api, transfers } = inNamespace("platforms");
    const layout = new ImageLayout(join(dir, "platforms"));
    const other = { os: "linux", architecture: "s390x" };
    const images = await Promise.all(
      [DEFAULT_PLATFORM, other].map(async (platform) =>
        layout.image({ layers: [await layout.layer([file(platform.architecture, "x")])], platform }),
      ),
    );
    layout.name(layout.index(images), "a.test/index:1");
    const path = join(dir, "platforms.tar");
    await layout.archive(path);
    await transfers.import(path);
    expect((await api.listSnapshots(SNAPSHOTTER)).map(({ name }) => name)).toEqual([images[0]!.chainIds[0]]);
    expect(await labelsOf(api, (await targetOf(api, "a.test/index:1")).digest)).toEqual({
      "containerd.io/gc.ref.content.m.0": images[0]!.manifest.digest,
      "containerd.io/gc.ref.content.m.1": images[1]!.manifest.digest,
    });
    const wanted = { os: "linux", architecture: "riscv64" };
    expect(await refusal(transfers.import(path, { platforms: [wanted] }))).toBe(
      "NOT_FOUND: image a.test/index:1 has nothing for linux/riscv64: " +
        `it has linux/${DEFAULT_PLATFORM.architecture}, linux/s390x: not found`,
    );
  });

  test("without a name anywhere is refused", async () => {
    const layout = new ImageLayout(join(dir, "nameless"));
    const image = layout.image({ layers: [await layout.layer([file("a")])] });
    const { platform: _, ...manifest } = image.manifest;
    const annotations = { "org.opencontainers.image.ref.name": "tag-only" };
    writeFileSync(join(layout.dir, "index.json"), JSON.stringify({ manifests: [{ ...manifest, annotations }] }));
    const path = join(dir, "nameless.tar");
    await layout.archive(path);
    expect(await refused("nameless", path, { name: "" })).toMatch(/^NOT_FOUND: the archive does not say/);
  });
});

describe("what docker save writes", () => {
  test("becomes an image with Docker's types, by its names in their full form", async () => {
    const { api, transfers } = inNamespace("docker");
    const path = join(dir, "docker.tar");
    await standard.layout.dockerArchive(path, standard.image, ["short:1", "a.test/long:2"]);
    await transfers.import(path);
    expect(await imageNames(api)).toEqual(["a.test/long:2", "docker.io/library/short:1"]);
    const { digest, mediaType } = await targetOf(api, "a.test/long:2");
    expect(mediaType).toBe("application/vnd.docker.distribution.manifest.v2+json");
    const { diffId } = standard.image.layers[0]!;
    expect(await labelsOf(api, digest)).toMatchObject({ "containerd.io/gc.ref.content.l.0": diffId });
    await lookInto(fixture.daemon, api, diffId, (root) =>
      expect(readFileSync(join(root, "etc/group"), "utf8")).toContain("extra:x:1003"),
    );
  });

  test("with links between the layers, and layers that are to be compressed", async () => {
    const { api, transfers } = inNamespace("links");
    const layer = await bytesOf([file("a", "a")]);
    const diffIds = [digestOf(layer), digestOf(layer)];
    const id = (n: number) => `${n}`.repeat(64);
    const config = JSON.stringify({ ...DEFAULT_PLATFORM, rootfs: { type: "layers", diff_ids: diffIds } });
    const list = [
      { Config: `${id(3)}.json`, RepoTags: ["a.test/links:1"], Layers: [`${id(1)}/layer.tar`, `${id(2)}/layer.tar`] },
    ];
    const bytes = await bytesOf([
      ...[directory(id(1)), file(`${id(1)}/VERSION`, "1.0"), file(`${id(1)}/layer.tar`, layer)],
      ...[directory(id(2)), symlink(`${id(2)}/layer.tar`, `../${id(1)}/layer.tar`)],
      ...[file(`${id(3)}.json`, config), file("repositories", "{}"), file("manifest.json", JSON.stringify(list))],
    ]);
    await transfers.import(pieces(bytes), { forceCompress: true });
    const { info } = await api.content.info({ digest: (await targetOf(api, "a.test/links:1")).digest });
    const compressed = info!.labels["containerd.io/gc.ref.content.l.0"]!;
    expect(compressed).not.toBe(diffIds[0]);
    expect(await labelsOf(api, compressed)).toEqual({ "containerd.io/uncompressed": diffIds[0] });
    expect(await api.listSnapshots(SNAPSHOTTER)).toHaveLength(2);
  });
});

describe("a root file system", () => {
  test.each(["plain", "gzip"] as const)("becomes an image with one layer (%s)", async (how) => {
    const { api, transfers } = inNamespace(`rootfs-${how}`);
    const plain = await bytesOf(base());
    const bytes = how === "gzip" ? gzipSync(plain) : plain;
    await transfers.import(pieces(bytes), { name: "a.test/rootfs:1" });
    const manifest = await targetOf(api, "a.test/rootfs:1");
    expect(await labelsOf(api, manifest.digest)).toMatchObject({ "containerd.io/gc.ref.content.l.0": digestOf(bytes) });
    await lookInto(fixture.daemon, api, digestOf(plain), (root) =>
      expect(execFileSync(join(root, "bin/busybox"), ["--list"], { encoding: "utf8" })).toContain(applets()[0]),
    );
  });

  test("that is damaged is refused with the entry's name", async () => {
    const bytes = await bytesOf([file("fine"), file("etc/cut", "x".repeat(100_000))]);
    expect(await refused("cut-rootfs", bytes.subarray(0, 50_000))).toMatch(/layer sha256:\w+: .*etc\/cut/);
  });
});

test("layers on each other: what a later one removes is not seen, what one depends on is looked for below", async () => {
  const { api, transfers } = inNamespace("stack");
  const layout = new ImageLayout(join(dir, "stack"));
  const layers = [
    await layout.layer([
      directory("tmp", { mode: 0o1777 }),
      file("a/one", "1"),
      symlink("lib", "usr/lib"),
      directory("usr/lib"),
    ]),
    await layout.layer([whiteout("a/one"), file("tmp/x", "x"), file("lib/y", "y")]),
    await layout.layer([file("tmp/z", "z")]),
  ];
  const image = layout.image({ layers });
  layout.name(image.manifest, "a.test/stack:1");
  const path = join(dir, "stack.tar");
  await layout.archive(path);
  await transfers.import(path);
  await lookInto(fixture.daemon, api, image.chainIds[2]!, (root) => {
    const shown = execFileSync("sh", ["-c", "stat -c '%a %n' tmp; ls a usr/lib tmp; cat usr/lib/y"], {
      cwd: root,
      encoding: "utf8",
    });
    expect(shown).toBe("1777 tmp\na:\n\ntmp:\nx\nz\n\nusr/lib:\ny\ny");
  });
});

describe("refused, with nothing left", () => {
  const hostile = (name: string, entries: LayerEntry[]): Promise<string> =>
    bytesOf([file("oci-layout", "{}"), ...entries]).then((bytes) => refused(name, bytes));
  const blobName = (data: string) => `blobs/sha256/${digestOf(data).slice(7)}`;

  test("names that lead out", async () => {
    expect(await hostile("out", [file("../../etc/x", "x")])).toMatch(
      /^INVALID_ARGUMENT: entry "..\/..\/etc\/x": leads out/,
    );
    expect(await hostile("absolute", [file("/etc/x", "x")])).toMatch(/entry "\/etc\/x": leads out/);
    expect(await hostile("link", [symlink("a", "../../../etc/passwd")])).toMatch(/leads out/);
  });

  test("devices", async () => {
    const device = { name: "null", type: "character-device", devmajor: 1, devminor: 3 } as const;
    expect(await hostile("device", [device])).toMatch(/entry "null": a character-device in an archive of images/);
  });

  test("links that go round", async () => {
    const list = JSON.stringify([{ Config: "a", RepoTags: ["a:1"], Layers: [] }]);
    const entries = [symlink("a", "b"), symlink("b", "a"), file("manifest.json", list)];
    expect(await hostile("round", entries)).toMatch(/entry "a": links without end/);
  });

  test("a blob that is not what its name says", async () => {
    const said = await hostile("liar", [file(blobName("one"), "two")]);
    expect(said).toMatch(/^FAILED_PRECONDITION: .*sha256:/);
    expect(said).toContain(digestOf("two"));
  });

  test("what is missing", async () => {
    const index = JSON.stringify({
      manifests: [{ mediaType: "application/vnd.oci.image.manifest.v1+json", digest: digestOf("x"), size: 1 }],
    });
    expect(await hostile("missing", [file("index.json", index)])).toBe(
      `NOT_FOUND: content ${digestOf("x")}: not found`,
    );
    expect(await hostile("empty", [])).toMatch(/neither an index.json nor a manifest.json/);
  });

  test("documents that are too large, and archives that end in the middle", async () => {
    expect(await hostile("huge", [file("index.json", Buffer.alloc(5 << 20))])).toMatch(
      /entry "index.json": 5242880 bytes: at most/,
    );
    const whole = readFileSync(archive);
    expect(await refused("cut", whole.subarray(0, whole.length / 2))).toMatch(
      /^INVALID_ARGUMENT: the archive is damaged/,
    );
    const zipped = gzipSync(whole);
    expect(await refused("cut-gzip", zipped.subarray(0, zipped.length / 2))).toMatch(/the archive is damaged: gzip/);
    expect(await refused("xz", Buffer.from("fd377a585a000000", "hex"))).toMatch(/compressed by xz/);
  });

  test("what is no archive", async () => {
    const text = "it does not begin with an entry of tar";
    expect(await refused("zeros", Buffer.alloc(10_240))).toContain(text);
    expect(await refused("short", Buffer.from("hello"), { unpacks: [] })).toContain(text);
    expect(
      await refused("nothing", Buffer.alloc(0), { mediaType: "application/vnd.oci.image.layer.v1.tar" }),
    ).toContain(text);
  });

  test("a layer that is not what the config says", async () => {
    const layout = new ImageLayout(join(dir, "diff-id"));
    const layer = await layout.layer([file("a", "a")]);
    const image = layout.image({ layers: [{ ...layer, diffId: digestOf("something else") }] });
    layout.name(image.manifest, "a.test/diff:1");
    const path = join(dir, "diff-id.tar");
    await layout.archive(path);
    const said = await refused("diff-id", path, { name: "" });
    expect(said).toContain(layer.descriptor.digest);
    expect(said).toContain(digestOf("something else"));
  });
});

test("a client that goes away in the middle leaves an import that the next one goes on with", async () => {
  const { api, transfers } = inNamespace("gone");
  const controller = new AbortController();
  const half = async function* () {
    for await (const chunk of createReadStream(archive, { start: 0, end: 500_000 }) as AsyncIterable<Buffer>)
      yield chunk;
    controller.abort();
    await new Promise(() => {});
  };
  const said = await refusal(transfers.import(half(), { signal: controller.signal }));
  expect(said).toMatch(/^CANCELLED/);
  await eventually(async () => (await api.content.listStatuses()).statuses.length === 0, { what: "no ingests" });
  await transfers.import(archive);
  expect(await imageNames(api)).toEqual([standard.name]);
  expect((await api.leases.list()).leases).toEqual([]);
});

test("files that somebody has removed from the disk: a clear error, and the next import makes them again", async () => {
  const { api, transfers } = inNamespace("removed");
  const layout = new ImageLayout(join(dir, "removed"));
  const image = layout.image({ layers: [await layout.layer([file("lost", "and found")])] });
  layout.name(image.manifest, "a.test/removed:1");
  const path = join(dir, "removed.tar");
  await layout.archive(path);
  await transfers.import(path);
  const [layer] = image.layers;
  const kept = (name: string) => join(fixture.daemon.root, name.replace("sha256:", ""));
  rmSync(kept(`layers/sha256-${layer!.diffId}.erofs`));
  for (const { digest } of [image.manifest, image.config, layer!.descriptor])
    rmSync(kept(`content/blobs/sha256/${digest}`));
  const read = async () => {
    using stream = api.readContent(image.config.digest);
    await stream.ended;
    return Buffer.concat(stream.messages.map(({ data }) => data));
  };
  const look = () =>
    lookInto(fixture.daemon, api, image.chainIds[0]!, (root) => readFileSync(join(root, "lost"), "utf8"));
  expect(await refusal(read())).toMatch(/^NOT_FOUND: content sha256:\w+ is damaged: somebody has removed \/\S+; /);
  expect(await refusal(look())).toMatch(/^FAILED_PRECONDITION: layer file \S+ can't be mounted: /);
  await transfers.import(path);
  expect(digestOf(await read())).toBe(image.config.digest);
  expect(await look()).toBe("and found");
});

test.skipIf(isDebians)(
  "an upgrade that replaces the programs of a running daemon: it unpacks on with those of its own",
  async () => {
    using build = copyBuild();
    await using daemon = await startDaemon({ program: build.daemon });
    const api = daemon.v1("upgraded");
    const worker = join(dirname(build.daemon), "layer-worker.js");
    writeFileSync(`${worker}.new`, 'throw new Error("of another version");\n');
    renameSync(`${worker}.new`, worker);
    await new Transfers(api).import(archive);
    expect(await imageNames(api)).toEqual([standard.name]);
    // A daemon that finds none at its start says so, and does all else.
    rmSync(worker);
    await daemon.restart();
    expect(daemon.log).toMatch(/no image can be unpacked.*no such file/);
    const layout = new ImageLayout(join(dir, "other"));
    layout.name(layout.image({ layers: [await layout.layer([file("other", "x")])] }).manifest, "a.test/other:1");
    const other = join(dir, "other.tar");
    await layout.archive(other);
    const said = await refusal(new Transfers(daemon.v1("without")).import(other));
    expect(said).toMatch(/^UNKNOWN: .*ENOENT.*layer-worker\.js/);
  },
);
