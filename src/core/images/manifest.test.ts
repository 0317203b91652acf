import { expect, test } from "vitest";
import {
  chainIds,
  type Descriptor,
  DOCKER_LIST,
  DOCKER_MANIFEST,
  digestOf,
  isForeignLayer,
  isLayerType,
  MAX_DOCUMENT,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_MANIFEST,
  parseConfig,
  parseDockerArchive,
  parseDocument,
  parseLooseIndex,
} from "./manifest.js";

const digest = (n: number) => `sha256:${n.toString(16).padStart(64, "0")}`;
const layer = (n: number, more: object = {}) => ({
  ...{ mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: digest(n), size: 10, ...more },
});
const config = { mediaType: OCI_CONFIG, digest: digest(1), size: 2 };

function parse(document: unknown, mediaType = OCI_MANIFEST) {
  const bytes = Buffer.from(typeof document === "string" ? document : JSON.stringify(document));
  return parseDocument({ mediaType, digest: digestOf(bytes), size: bytes.length }, bytes);
}

test("a manifest, an index, a config", () => {
  expect(parse({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [layer(2)] })).toEqual({
    ...{ kind: "manifest", config, layers: [layer(2)] },
  });
  const platform = { os: "linux", architecture: "arm", variant: "v7", "os.version": "1" };
  const manifest = { mediaType: DOCKER_MANIFEST, digest: digest(3), size: 4, platform, annotations: { a: "b" } };
  expect(parse({ schemaVersion: 2, manifests: [manifest] }, DOCKER_LIST)).toEqual({
    kind: "index",
    manifests: [{ ...manifest, platform: { os: "linux", architecture: "arm", variant: "v7", osVersion: "1" } }],
  });
  const text = { os: "linux", architecture: "amd64", rootfs: { type: "layers", diff_ids: [digest(5)] } };
  expect(parseConfig(digest(1), Buffer.from(JSON.stringify(text)))).toEqual({
    platform: { os: "linux", architecture: "amd64", variant: "", osVersion: "" },
    diffIds: [digest(5)],
  });
});

test.each<[string, unknown, string, RegExp]>([
  ["no JSON", "{", OCI_MANIFEST, /^manifest sha256:\w+ is no JSON: /],
  ["no object", [1], OCI_MANIFEST, /a list is no object/],
  ["no layers", { config }, OCI_MANIFEST, /layers: nothing is no list/],
  ["no config", { layers: [] }, OCI_MANIFEST, /config: nothing is no object/],
  ["a negative size", { config, layers: [layer(1, { size: -1 })] }, OCI_MANIFEST, /layers\[0\]\.size: -1 is no size/],
  ["half a byte", { config, layers: [layer(1, { size: 0.5 })] }, OCI_MANIFEST, /size: 0.5/],
  ["an endless size", { config, layers: [layer(1, { size: 1e300 })] }, OCI_MANIFEST, /size: 1e\+300/],
  ["a size as text", { config, layers: [layer(1, { size: "10" })] }, OCI_MANIFEST, /size: "10" is no size/],
  [
    "a path",
    { config, layers: [layer(1, { digest: "sha256:../../etc" })] },
    OCI_MANIFEST,
    /digest: "sha256:..\/..\/etc"/,
  ],
  ["MD5", { config, layers: [layer(1, { digest: `md5:${"0".repeat(32)}` })] }, OCI_MANIFEST, /no digest of sha256/],
  ["no type", { config, layers: [layer(1, { mediaType: 7 })] }, OCI_MANIFEST, /layers\[0\]\.mediaType: 7/],
  [
    "annotations",
    { config, layers: [layer(1, { annotations: { a: 1 } })] },
    OCI_MANIFEST,
    /annotations\.a: 1 is no text/,
  ],
  ["another type", { mediaType: DOCKER_MANIFEST, config, layers: [] }, OCI_MANIFEST, /says that it is .*docker/],
  ["both", { config, layers: [], manifests: [] }, OCI_MANIFEST, /is an index as well/],
  ["both", { layers: [], manifests: [] }, OCI_INDEX, /is a manifest as well/],
  [
    "10,000 layers",
    { config, layers: Array.from({ length: 10_000 }, (_, n) => layer(n)) },
    OCI_MANIFEST,
    /10000 of them/,
  ],
  ["too large", `"${"x".repeat(MAX_DOCUMENT)}"`, OCI_MANIFEST, /is of \d+ bytes/],
  ["schema 1", { schemaVersion: 1, config, layers: [] }, OCI_MANIFEST, /schema 1, which is not supported/],
  ["schema 1", {}, "application/vnd.docker.distribution.manifest.v1+prettyjws", /schema 1, which is not supported/],
  ["no image", {}, "text/html", /is no image: its media type is "text\/html"/],
])("refused: %s", (_, document, mediaType, expected) => {
  expect(() => parse(document, mediaType)).toThrow(expected);
});

test("an index that names itself is refused", () => {
  const self: Descriptor = { mediaType: OCI_INDEX, digest: digest(7), size: 1 };
  const bytes = Buffer.from(JSON.stringify({ manifests: [self] }));
  expect(() => parseDocument(self, bytes)).toThrow(/names itself/);
});

test("names like those of every object's properties are plain keys", () => {
  const text = `{"manifests":[{"mediaType":"a","digest":"${digest(1)}","size":1,"annotations":{"__proto__":"x","constructor":"y"}}]}`;
  const [descriptor] = parseLooseIndex("index.json", Buffer.from(text));
  expect(Object.entries(descriptor!.annotations!)).toEqual([
    ["__proto__", "x"],
    ["constructor", "y"],
  ]);
});

test("deep nesting ends in an error, not in the end of the process", () => {
  const labels = Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`${n}`, '[{"\\"[{'.repeat(20)]));
  expect(parse({ config, layers: [layer(1, { annotations: labels })] })).toMatchObject({ kind: "manifest" });
  expect(() => parse(`${"[".repeat(1_000_000)}`)).toThrow(/nested more than 100 times/);
  expect(() => parse(`${"[".repeat(1_000_000)}${"]".repeat(1_000_000)}`)).toThrow(/nested more than 100 times/);
});

test("types of layers", () => {
  for (const type of [
    "vnd.oci.image.layer.v1.tar",
    "vnd.oci.image.layer.v1.tar+zstd",
    "vnd.docker.image.rootfs.diff.tar.gzip",
  ])
    expect([isLayerType(`application/${type}`), isForeignLayer(`application/${type}`)]).toEqual([true, false]);
  for (const type of [
    "vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "vnd.docker.image.rootfs.foreign.diff.tar.gzip",
  ])
    expect([isLayerType(`application/${type}`), isForeignLayer(`application/${type}`)]).toEqual([true, true]);
  for (const type of ["vnd.oci.image.layer.v1.tar+encrypted", "octet-stream", "vnd.oci.image.config.v1+json"])
    expect(isLayerType(`application/${type}`)).toBe(false);
});

test("chain ids", () => {
  expect(chainIds([])).toEqual([]);
  expect(chainIds([digest(1)])).toEqual([digest(1)]);
  const second = digestOf(Buffer.from(`${digest(1)} ${digest(2)}`));
  expect(chainIds([digest(1), digest(2), digest(3)])).toEqual([
    ...[digest(1), second, digestOf(Buffer.from(`${second} ${digest(3)}`))],
  ]);
});

test("manifest.json of docker save", () => {
  const bytes = Buffer.from('[{"Config":"a.json","RepoTags":null,"Layers":["a/layer.tar"]}]');
  expect(parseDockerArchive("manifest.json", bytes)).toEqual([
    ...[{ config: "a.json", repoTags: [], layers: ["a/layer.tar"] }],
  ]);
  expect(() => parseDockerArchive("manifest.json", Buffer.from('[{"Config":1}]'))).toThrow(
    "manifest.json [0].Config: 1 is no text",
  );
});
