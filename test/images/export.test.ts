/** Images as archives, and to registries: what comes back is what went. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { useContainerd1 } from "../harness/containerd1.js";
import { hasRegistry, useRegistry } from "../harness/registry.js";
import {
  DEFAULT_PLATFORM,
  digestOf,
  file,
  ImageLayout,
  makeTestImage,
  type StandardImage,
  type TestImage,
} from "../harness/test-images.js";
import { Transfers } from "../harness/transfer.js";
import { contentOf, imageNames, labelsOf, targetOf } from "../harness/unpacked.js";
import { type ApiV1, refusal } from "../harness/v1.js";

const fixture = useContainerd1();
const OTHER = { os: "linux", architecture: "s390x" };

let dir: string;
let standard: StandardImage;
/** An index for two platforms, in a layout. */
let both: { layout: ImageLayout; images: [TestImage, TestImage]; name: string };

function inNamespace(name: string): { api: ApiV1; transfers: Transfers } {
  const api = fixture.daemon.v1(name);
  return { api, transfers: new Transfers(api) };
}

async function imported(api: ApiV1, layout: ImageLayout, all = false): Promise<void> {
  const path = join(dir, `${api.namespace}-in.tar`);
  await layout.archive(path);
  await new Transfers(api).import(path, all ? { platforms: [], unpacks: [] } : {});
}

beforeAll(async () => {
  dir = fixture.daemon.dir;
  standard = await makeTestImage(join(dir, "standard"), "base");
  const layout = new ImageLayout(join(dir, "both"));
  const made = async (platform: typeof OTHER) =>
    layout.image({ layers: [await layout.layer([file("etc/platform", platform.architecture)])], platform });
  const images: [TestImage, TestImage] = [await made(DEFAULT_PLATFORM), await made(OTHER)];
  const name = "a.test/both:1";
  layout.name(layout.index(images), name);
  both = { layout, images, name };
});

describe("an archive", () => {
  test("is an OCI layout and one of docker load's, that GNU tar reads, and becomes the same images", async () => {
    const { api, transfers } = inNamespace("out");
    await imported(api, standard.layout);
    await transfers.tag(standard.name, "b.test/second:2");
    const path = join(dir, "out.tar");
    const events = await transfers.export([standard.name, "b.test/second:2"], path);
    expect(events.map(({ event }) => event)).toEqual(expect.arrayContaining(["Exporting", "Completed export"]));
    const unpacked = join(dir, "out");
    mkdirSync(unpacked);
    execFileSync("tar", ["-C", unpacked, "-xf", path]);
    const json = (name: string) => JSON.parse(readFileSync(join(unpacked, name), "utf8"));
    const { image } = standard;
    expect(json("oci-layout")).toEqual({ imageLayoutVersion: "1.0.0" });
    expect(json("index.json").manifests).toMatchObject([
      {
        digest: image.manifest.digest,
        annotations: { "io.containerd.image.name": standard.name, "org.opencontainers.image.ref.name": "latest" },
      },
      { digest: image.manifest.digest, annotations: { "io.containerd.image.name": "b.test/second:2" } },
    ]);
    const blob = (digest: string) => `blobs/${digest.replace(":", "/")}`;
    const layers = image.layers.map(({ descriptor }) => blob(descriptor.digest));
    expect(json("manifest.json")).toEqual([
      { Config: blob(image.config.digest), RepoTags: [standard.name], Layers: layers },
      { Config: blob(image.config.digest), RepoTags: ["b.test/second:2"], Layers: layers },
    ]);
    for (const layer of layers) expect(digestOf(readFileSync(join(unpacked, layer)))).toBe(`sha256:${layer.slice(13)}`);
    // The same images make the same archive.
    await transfers.export([standard.name, "b.test/second:2"], join(dir, "again.tar"));
    expect(readFileSync(join(dir, "again.tar")).equals(readFileSync(path))).toBe(true);
    const back = inNamespace("back");
    await back.transfers.import(path);
    expect(await imageNames(back.api)).toEqual(["b.test/second:2", standard.name]);
  });

  test("has one platform, those that are named, or all", async () => {
    const { api, transfers } = inNamespace("some");
    await imported(api, both.layout, true);
    const digests = async (options: object) => {
      const path = join(dir, "some.tar");
      await transfers.export([both.name], path, options);
      const list = execFileSync("tar", ["-tf", path], { encoding: "utf8" });
      return both.images.map(({ manifest }) => list.includes(manifest.digest.slice(7)));
    };
    expect(await digests({})).toEqual([true, false]);
    expect(await digests({ platforms: [OTHER] })).toEqual([false, true]);
    expect(await digests({ allPlatforms: true })).toEqual([true, true]);
    const missing = { os: "linux", architecture: "riscv64" };
    expect(await refusal(transfers.export([both.name], join(dir, "none.tar"), { platforms: [missing] }))).toMatch(
      /^NOT_FOUND: image a.test\/both:1 has nothing for linux\/riscv64: it has linux\/\w+, linux\/s390x/,
    );
    expect(await refusal(transfers.export(["no.test/such:1"], join(dir, "none.tar")))).toMatch(
      /^NOT_FOUND: image "no.test/,
    );
  });

  test("of one platform is imported again as far as it goes", async () => {
    const { api, transfers } = inNamespace("part");
    await imported(api, both.layout, true);
    await transfers.export([both.name], join(dir, "part.tar"));
    const back = inNamespace("part-back");
    await back.transfers.import(join(dir, "part.tar"));
    expect(await imageNames(back.api)).toEqual([both.name]);
    expect(await contentOf(back.api)).not.toContain(both.images[1].manifest.digest);
    // What went in part comes out in part.
    await back.transfers.export([both.name], join(dir, "part-again.tar"), { allPlatforms: true });
  });
});

describe.skipIf(!hasRegistry)("a push", () => {
  const registries = useRegistry();

  test("brings an image to a registry, from where it comes back; what is there does not go again", async () => {
    const { api, transfers } = inNamespace("push");
    await imported(api, standard.layout);
    const { registry } = registries;
    const name = `${registry.host}/push/one:1`;
    const events = await transfers.push(standard.name, name);
    expect(events[0]!.event).toBe(`Pushing to ${name}`);
    expect(events.at(-1)!.event).toBe(`Completed push to ${name}`);
    const layer = standard.image.layers[0]!.descriptor.digest;
    const ofLayer = (all: typeof events) => all.filter((event) => event.name === `layer-${layer}`).at(-1)!.event;
    expect(ofLayer(events)).toBe("complete");
    expect(ofLayer(await transfers.push(standard.name, name))).toBe("already exists");
    expect(await labelsOf(api, layer)).toMatchObject({
      [`containerd.io/distribution.source.${registry.host}`]: "push/one",
    });
    // Another repository of the registry takes the blobs from this one.
    const logged = registry.log.length;
    await transfers.push(standard.name, `${registry.host}/push/two:1`);
    const uploads = registry.log.slice(logged).match(/"(POST|PUT|PATCH) \/v2\/push\/two\/blobs\/[^"]*"/g) ?? [];
    expect(uploads.filter((line) => !line.includes("mount="))).toEqual([]);
    const back = inNamespace("push-back");
    await back.transfers.pull(`${registry.host}/push/two:1`);
    expect((await targetOf(back.api, `${registry.host}/push/two:1`)).digest).toBe(standard.image.manifest.digest);
  });

  test("of many platforms: all, one of them, or an error that says what is missing", async () => {
    const { api, transfers } = inNamespace("push-many");
    await imported(api, both.layout, true);
    const { registry } = registries;
    await transfers.push(both.name, `${registry.host}/many/all:1`);
    const back = inNamespace("push-many-back");
    await back.transfers.pull(`${registry.host}/many/all:1`, { platforms: [OTHER], unpacks: [] });
    expect(await contentOf(back.api)).toContain(both.images[1].manifest.digest);
    expect(await refusal(back.transfers.push(`${registry.host}/many/all:1`, `${registry.host}/many/part:1`))).toMatch(
      new RegExp(
        `^NOT_FOUND: image .*: not pulled: linux/\\w+ \\(${both.images[0].manifest.digest}\\); ` +
          `push with --platform ${OTHER.os}/${OTHER.architecture}, or pull all with --platform all first`,
      ),
    );
    const here = back.transfers.push(`${registry.host}/many/all:1`, `${registry.host}/many/part:1`, {
      platforms: [DEFAULT_PLATFORM],
    });
    expect(await refusal(here)).toMatch(/^NOT_FOUND: image .*: not pulled: linux\/\w+ \(.*\); pull all/);
    await back.transfers.push(`${registry.host}/many/all:1`, `${registry.host}/many/part:1`, { platforms: [OTHER] });
    const part = inNamespace("push-many-part");
    await part.transfers.pull(`${registry.host}/many/part:1`, { platforms: [OTHER], unpacks: [] });
    expect((await targetOf(part.api, `${registry.host}/many/part:1`)).digest).toBe(both.images[1].manifest.digest);
  });

  test("of what is not there", async () => {
    const { transfers } = inNamespace("push-nothing");
    const { host } = registries.registry;
    expect(await refusal(transfers.push("no.test/such:1", `${host}/a:1`))).toMatch(
      /^NOT_FOUND: image "no.test\/such:1"/,
    );
  });
});
