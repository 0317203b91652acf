/** In what a layer may come: compressions, and the ways in which tar says what its header can't. */
import { execFileSync } from "node:child_process";
import {
  closeSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { archive, digestOf, type Entry } from "./archive.js";
import { workshop } from "./layers.js";
import { treeOf } from "./tree.js";

const shop = workshop();

const OCI = "application/vnd.oci.image.layer.v1.tar";
const DOCKER = "application/vnd.docker.image.rootfs.diff.tar";

const data = archive([{ name: "file", data: Buffer.alloc(3_000_000, "some data\n") }]);

function zstd(input: Buffer, ...args: string[]): Buffer {
  return execFileSync("zstd", ["-c", ...args], { input, maxBuffer: 1 << 28 });
}

/** A frame of zstd without data. */
function skippable(size: number): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(0x184d2a53, 0);
  head.writeUInt32LE(size, 4);
  return Buffer.concat([head, Buffer.alloc(size, 7)]);
}

describe("the compression of a layer", () => {
  const half = data.length / 2;
  const parts = [data.subarray(0, half), data.subarray(half)];
  const small = Array.from({ length: Math.ceil(data.length / 60_000) }, (_, i) =>
    data.subarray(i * 60_000, (i + 1) * 60_000),
  );
  it.each<[string, string, () => Buffer]>([
    ["none", OCI, () => data],
    ["gzip", `${OCI}+gzip`, () => gzipSync(data)],
    ["gzip in members", `${DOCKER}.gzip`, () => Buffer.concat(parts.map((part) => gzipSync(part)))],
    [
      "gzip in blocks of their own",
      `${OCI}+gzip`,
      () => Buffer.concat([...small.map((part) => gzipSync(part)), gzipSync("")]),
    ],
    ["gzip with zeros behind it", `${OCI}+gzip`, () => Buffer.concat([gzipSync(data), Buffer.alloc(400_000)])],
    ["gzip that is called plain", DOCKER, () => gzipSync(data)],
    ["zstd", `${OCI}+zstd`, () => zstd(data)],
    ["zstd with a checksum, strong", `${OCI}+zstd`, () => zstd(data, "-19", "--check")],
    [
      "zstd in frames",
      `${OCI}+zstd`,
      () =>
        Buffer.concat([
          skippable(100),
          zstd(parts[0]!),
          skippable(0),
          zstd(parts[1]!, "--no-check"),
          skippable(300_000),
        ]),
    ],
  ])("may be %s", async (_, mediaType, blob) => {
    const converted = await shop.convert(blob(), { mediaType, diffId: digestOf(data) });
    await shop.mounted(converted.path, (directory) => {
      expect(treeOf(directory).file).toMatchObject({ size: "3000000" });
      expect(readFileSync(join(directory, "file")).equals(Buffer.alloc(3_000_000, "some data\n"))).toBe(true);
    });
    shop.remove(converted.path);
  });

  it("must be what its media type says", async () => {
    await shop.refuses(data, ["gzip", "compressed by nothing"], { mediaType: `${OCI}+gzip` });
    await shop.refuses(gzipSync(data), ["zstd", "compressed by gzip"], { mediaType: `${OCI}+zstd` });
  });

  it("must be whole and right", async () => {
    const zipped = gzipSync(data);
    await shop.refuses(zipped.subarray(0, zipped.length - 9), ["can't be decompressed"]);
    await shop.refuses(Buffer.concat([zipped.subarray(0, 1000), Buffer.alloc(1000, 0xaa), zipped.subarray(2000)]), []);
    const packed = zstd(data);
    await shop.refuses(packed.subarray(0, packed.length - 9), ["ends in the middle"]);
    await shop.refuses(data.subarray(0, 1_000_000), ['entry "file"', "ends in the middle"]);
    await shop.refuses(gzipSync(data), [digestOf(data), "but should be sha256:0"], {
      diffId: `sha256:${"0".repeat(64)}`,
    });
    const wrong = Buffer.from(archive([{ name: "first" }, { name: "second" }]));
    wrong[512 + 3] = 0x41;
    await shop.refuses(wrong, ["checksum", "first"]);
  });

  it("is refused where it would take too much memory", async () => {
    const packed = zstd(Buffer.alloc(1 << 20));
    // The window's size is the second byte behind the magic number, in frames that say one.
    const huge = Buffer.from(packed);
    huge[4] = huge[4]! & ~0x20;
    huge[5] = 0xf8;
    await shop.refuses(huge, ["zstd"]);
  });
});

describe("an entry of a layer", () => {
  it("may have holes, in each form that GNU tar writes, and has them as holes", async () => {
    const files = shop.make("files");
    const sparse = openSync(join(files, "sparse"), "w");
    for (const at of [0, 1_000_000, 5_000_001, 9_000_000]) writeSync(sparse, Buffer.alloc(5000, "data"), 0, 5000, at);
    ftruncateSync(sparse, 20_000_000);
    closeSync(sparse);
    writeFileSync(join(files, "many"), "");
    const many = openSync(join(files, "many"), "r+");
    for (let at = 0; at < 60; at++) writeSync(many, Buffer.alloc(4096, at), 0, 4096, at * 65_536 * 2);
    closeSync(many);
    execFileSync("truncate", ["-s", "3000000", join(files, "empty")]);
    // GNU's own format has no fractions.
    for (const name of ["sparse", "many", "empty"]) utimesSync(join(files, name), 1_700_000_000, 1_700_000_000);
    const expected = treeOf(files);
    for (const form of [
      ["--format=gnu"],
      ...["0.0", "0.1", "1.0"].map((version) => ["--format=posix", `--sparse-version=${version}`]),
    ]) {
      const archived = execFileSync("tar", ["-cS", ...form, "-C", files, "."], { maxBuffer: 1 << 28 });
      expect(archived.length, "tar has written holes").toBeLessThan(2_000_000);
      const converted = await shop.convert(archived);
      expect(converted.size).toBeLessThan(2_000_000);
      expect(statSync(converted.path).size).toBeGreaterThan(20_000_000);
      await shop.mounted(converted.path, (directory) =>
        expect(treeOf(directory)).toEqual({ ...expected, "": expect.anything() }),
      );
      shop.remove(converted.path);
    }
  });

  it("may have long names, large numbers, old times and binary attributes, in each form", async () => {
    const deep = `${"directory/".repeat(30)}${"\xff".repeat(200)}`;
    const entries: Entry[] = [
      { name: deep, data: Buffer.from("deep") },
      { name: "link", type: "2", target: "\xfe/".repeat(1000) },
      { name: "owned", uid: 4_000_000_000, gid: 3_000_000_000, mtime: -5_000_000_000 },
      { name: "future", mtime: 9_000_000_000 },
    ];
    for (const form of ["posix", "gnu"] as const) {
      const converted = await shop.convert(archive(entries, form));
      await shop.mounted(converted.path, (directory) => {
        const tree = treeOf(directory);
        expect(tree[deep]).toMatchObject({ size: "4" });
        expect(tree.link).toMatchObject({ target: "\xfe/".repeat(1000) });
        expect(tree.owned).toMatchObject({ owner: "4000000000:3000000000", mtime: "-5000000000000000000" });
        expect(tree.future).toMatchObject({ mtime: "9000000000000000000" });
      });
      shop.remove(converted.path);
    }
    const attributes = {
      "user.a": Buffer.from([0, 10, 61, 255, 0]),
      "user.b": Buffer.alloc(60_000, "b"),
      "trusted.c": Buffer.from("c"),
    };
    const more = { ...attributes, "user.overlay.redirect": Buffer.from("/etc"), "security.selinux": Buffer.from("x") };
    const named = { name: "file", data: Buffer.alloc(4000, "x"), mtime: 1.25, attributes: more };
    const converted = await shop.convert(archive([named, { ...named, name: "after", data: Buffer.from("after") }]));
    await shop.mounted(converted.path, (directory) => {
      const tree = treeOf(directory);
      expect(Object.keys(tree.file!).filter((key) => key.startsWith("attribute"))).toEqual([
        "attribute user.a",
        "attribute user.b",
      ]);
      expect(tree.file).toMatchObject({ "attribute user.a": "000a3dff00", size: "4000", mtime: "1250000000" });
      expect(tree.after).toMatchObject({ "attribute user.b": attributes["user.b"].toString("hex"), size: "5" });
    });
    shop.remove(converted.path);
  });

  it("may be one of thousands in a directory, each of which is found", async () => {
    const names = Array.from({ length: 5000 }, (_, i) => `${"!-.~a\xff"[i % 6]}${i}`);
    const converted = await shop.convert(
      archive(names.map((name) => ({ name: `many/${name}`, data: Buffer.from(name, "latin1") }))),
    );
    expect(converted.entries).toBe(5001);
    await shop.mounted(converted.path, (directory) => {
      for (const name of names)
        expect(readFileSync(Buffer.from(`${directory}/many/${name}`, "latin1")).toString("latin1")).toBe(name);
      expect(Object.keys(treeOf(directory)).length).toBe(5002);
    });
    shop.remove(converted.path);
  });

  it("may be missing: an empty archive is an empty layer", async () => {
    for (const empty of [archive([]), Buffer.alloc(0)]) {
      const converted = await shop.convert(empty, { diffId: digestOf(empty) });
      expect(converted).toMatchObject({ entries: 0, dependsOnBelow: false, namesRoot: false });
      await shop.mounted(converted.path, (directory) => expect(Object.keys(treeOf(directory))).toEqual([""]));
      shop.remove(converted.path);
    }
  });
});
