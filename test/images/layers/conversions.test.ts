/** How a conversion goes: while its blob arrives, called off, beside others, in workers that may end. */
import { execFileSync } from "node:child_process";
import { appendFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import { convertLayer, type LayerConversion } from "../../../src/core/layers/convert.js";
import { GrowingFile } from "../../../src/core/layers/growing-file.js";
import { times } from "../../harness/extent.js";
import { eventually } from "../../harness/wait.js";
import { archive, digestOf, END, entryBytes, HARDLINK } from "./archive.js";
import { workshop } from "./layers.js";
import { treeOf } from "./tree.js";

const shop = workshop();
const nothing = new AbortController().signal;

/** What can't be compressed, so that it takes a while and has a size. */
const noise = Buffer.from(Array.from({ length: 300_000 }, (_, i) => Math.imul(i ^ (i >> 7), 2_654_435_761) >>> 24));
const data = archive(Array.from({ length: 20 }, (_, i) => ({ name: `file-${i}`, data: noise })));
const blob = gzipSync(data, { level: 1 });

let count = 0;
function conversion(more: Partial<LayerConversion> = {}): LayerConversion {
  const output = join(shop.out, `${++count}.erofs`);
  return { layer: "sha256:1234", blob: shop.path("blob"), mediaType: "", output, signal: nothing, ...more };
}

afterEach(() => {
  for (const name of readdirSync(shop.out)) shop.remove(join(shop.out, name));
});

describe("a conversion", () => {
  it("goes on while the blob arrives", async () => {
    const grown = new GrowingFile();
    let read = 0;
    const of = conversion({
      grown,
      onProgress: (progress) => {
        read = progress.read;
      },
    });
    writeFileSync(of.blob, "");
    const converted = convertLayer(of);
    for (let at = 0; at < blob.length; ) {
      // In pieces of all sizes, also of a byte.
      const end = Math.min(blob.length, at + 1 + ((at * 7919) % 200_000));
      appendFileSync(of.blob, blob.subarray(at, end));
      at = end;
      grown.grow(at);
      if (at > blob.length / 2 && read === 0) await eventually(() => expect(read).toBeGreaterThan(0));
    }
    expect(read).toBeGreaterThan(0);
    grown.end();
    expect(await converted).toMatchObject({ diffId: digestOf(data), entries: 20 });
    await shop.mounted(of.output, (directory) => expect(Object.keys(treeOf(directory)).length).toBe(21));
  });

  it("fails with what the blob fails with, and leaves nothing", async () => {
    const grown = new GrowingFile();
    const of = conversion({ grown });
    writeFileSync(of.blob, blob);
    const converted = convertLayer(of);
    grown.grow(blob.length / 2);
    grown.fail(new Error("the registry is gone"));
    await expect(converted).rejects.toThrow("the registry is gone");
    expect(readdirSync(shop.out)).toEqual([]);
  });

  it("is called off at once, whatever it does, and leaves nothing", async () => {
    const large = Buffer.concat([entryBytes({ name: "large", size: 3e9 }).subarray(0, 512), Buffer.alloc(1 << 20)]);
    const waits = new GrowingFile();
    for (const [content, more] of [
      [large, { grown: waits }],
      [blob.subarray(0, blob.length / 2), { grown: new GrowingFile(blob.length / 2) }],
      [archive([{ name: "missing/parent" }]), { below: () => new Promise<undefined>(() => {}) }],
    ] as [Buffer, Partial<LayerConversion>][]) {
      const controller = new AbortController();
      const of = conversion({ signal: controller.signal, ...more });
      writeFileSync(of.blob, content);
      const converted = convertLayer(of);
      converted.catch(() => {});
      await eventually(() => expect(readdirSync(shop.out).length).toBe(1));
      controller.abort(new Error("enough of it"));
      await expect(converted).rejects.toThrow("enough of it");
      expect(readdirSync(shop.out)).toEqual([]);
    }
    // In the middle of its work.
    const controller = new AbortController();
    const of = conversion({ signal: controller.signal, onProgress: () => controller.abort(new Error("now")) });
    writeFileSync(of.blob, blob);
    await expect(convertLayer(of)).rejects.toThrow("now");
    expect(readdirSync(shop.out)).toEqual([]);
    const before = conversion({ signal: AbortSignal.abort(new Error("before it began")) });
    await expect(convertLayer(before)).rejects.toThrow("before it began");
  });

  it("waits for none whose blob does not arrive", async () => {
    const stalled = Array.from({ length: 6 }, () => {
      const grown = new GrowingFile();
      const of = conversion({ grown });
      writeFileSync(of.blob, blob);
      grown.grow(1000);
      return { grown, converted: convertLayer(of) };
    });
    const of = conversion();
    writeFileSync(of.blob, blob);
    expect(await convertLayer(of)).toMatchObject({ diffId: digestOf(data) });
    for (const { grown } of stalled) {
      grown.grow(blob.length);
      grown.end();
    }
    for (const { converted } of stalled) expect(await converted).toMatchObject({ diffId: digestOf(data) });
  });

  it("waits for the layers below without keeping them from being made", async () => {
    const below = shop.make("below");
    let made: () => void = () => {};
    const lowest = new Promise<void>((resolve) => {
      made = resolve;
    });
    const upper = Array.from({ length: 6 }, () => {
      const of = conversion({
        below: async () => {
          await lowest;
          return below;
        },
      });
      writeFileSync(of.blob, archive([{ name: "missing/parent" }]));
      return convertLayer(of);
    });
    const of = conversion();
    writeFileSync(of.blob, blob);
    await convertLayer(of);
    made();
    for (const converted of upper) expect(await converted).toMatchObject({ dependsOnBelow: true });
    const fails = conversion({ below: () => Promise.reject(new Error("no mount")) });
    writeFileSync(fails.blob, archive([{ name: "missing/parent" }]));
    await expect(convertLayer(fails)).rejects.toThrow("no mount");
    expect(readdirSync(shop.out)).not.toContain(fails.output);
  });

  it("fails alone when its archive needs too much memory", async () => {
    const links = times(450_000, 0);
    if (links === 0) return;
    const pieces = Array.from({ length: links }, (_, i) =>
      entryBytes({ name: `l${i}`, type: HARDLINK, target: `t${i}` }),
    );
    const of = conversion({ below: async () => shop.make("below") });
    writeFileSync(of.blob, Buffer.concat([...pieces, END]));
    const other = conversion();
    writeFileSync(other.blob, blob);
    const both = await Promise.allSettled([convertLayer(of), convertLayer(other)]);
    expect(both.map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
    expect(readdirSync(shop.out).map((name) => join(shop.out, name))).toEqual([other.output]);
  });

  it("fails when the disk is full, and gives the room back", async () => {
    const small = shop.make("small");
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", small]);
    try {
      const of = conversion({ output: join(small, "layer.erofs") });
      writeFileSync(of.blob, blob);
      await expect(convertLayer(of)).rejects.toMatchObject({ kind: "resource-exhausted", what: "disk-full" });
      expect(readdirSync(small)).toEqual([]);
      writeFileSync(join(small, "room"), Buffer.alloc(2 << 20));
    } finally {
      execFileSync("umount", [small]);
    }
  });

  it("does not write over a file", async () => {
    const of = conversion();
    writeFileSync(of.blob, blob);
    writeFileSync(of.output, "somebody's");
    await expect(convertLayer(of)).rejects.toThrow("exists");
    expect(readdirSync(shop.out).length).toBe(1);
  });
});
