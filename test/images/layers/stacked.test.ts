/** Layers on each other: what a layer takes from those below and removes of them, beside GNU tar that extracts one over the other. */

import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { times } from "../../harness/extent.js";
import { anyEntry, isNamed, SEED } from "./any-entry.js";
import { archive, DIRECTORY, type Entry, HARDLINK, SYMLINK } from "./archive.js";
import { extract, workshop } from "./layers.js";
import { type File, treeOf } from "./tree.js";

const shop = workshop();

const file = (name: string, data = name): Entry => ({ name, data: Buffer.from(data) });
const directory = (name: string, more: Partial<Entry> = {}): Entry => ({ name, type: DIRECTORY, mode: 0o755, ...more });
const symlink = (name: string, target: string): Entry => ({ name, type: SYMLINK, target });
const hardLink = (name: string, target: string): Entry => ({ name, type: HARDLINK, target });
const whiteout = (name: string): Entry => file(name.replace(/[^/]+$/, ".wh.$&"), "");

/** Makes layer files of archives, each on those before it, and looks at all of them together. */
async function stack(
  layers: readonly (readonly Entry[])[],
  look: (tree: Record<string, File>) => void,
): Promise<boolean[]> {
  const files: string[] = [];
  const depend: boolean[] = [];
  for (const entries of layers) {
    const lower = [...files].reverse();
    const converted = await withMounted(lower, (below) =>
      shop.convert(archive(entries), { below: async () => (lower.length === 0 ? undefined : below) }),
    );
    files.push(converted.path);
    depend.push(converted.dependsOnBelow);
  }
  await withMounted([...files].reverse(), (directory) => look(treeOf(directory, { withoutLinks: true })));
  for (const path of files) shop.remove(path);
  return depend;
}

async function withMounted<T>(files: readonly string[], look: (directory: string) => T | Promise<T>): Promise<T> {
  const mounts: string[] = [];
  const mountAll = async (rest: readonly string[]): Promise<T> => {
    const [first, ...others] = rest;
    if (first === undefined) return await shop.stacked(mounts.length > 0 ? mounts : [shop.make("empty")], look);
    return await shop.mounted(first, (directory) => {
      mounts.push(directory);
      return mountAll(others);
    });
  };
  return await mountAll(files);
}

describe("a layer on others", () => {
  it("leaves a directory that it does not name as it is below", async () => {
    const attributes = { "user.note": Buffer.from([0, 1, 255]) };
    const base = [directory("tmp", { mode: 0o1777, uid: 7, gid: 8, mtime: 12.5, attributes }), file("tmp/old")];
    const depend = await stack([base, [file("tmp/new")], [file("other/new")]], (tree) => {
      expect(tree.tmp).toEqual({
        type: "directory",
        mode: "1777",
        owner: "7:8",
        mtime: "12500000000",
        "attribute user.note": "0001ff",
      });
      expect(Object.keys(tree).sort()).toEqual(["", "other", "other/new", "tmp", "tmp/new", "tmp/old"]);
      expect(tree.other).toMatchObject({ mode: "755", owner: "0:0" });
    });
    expect(depend).toEqual([false, true, true]);
  });

  it("puts files where a symbolic link below leads, and does not follow it out of the image", async () => {
    const base = [
      directory("usr"),
      directory("usr/lib", { mode: 0o711 }),
      symlink("lib", "usr/lib"),
      symlink("up", "../../../usr/./lib"),
      symlink("all", "/"),
      symlink("usr/again", "../lib"),
      symlink("gone", "not/there"),
    ];
    const layer = ["lib/1", "up/2", "all/3", "usr/again/4", "all/lib/deep/5", "gone/6"].map((name) => file(name));
    await stack([base, layer], (tree) => {
      const paths = Object.keys(tree).sort();
      for (const path of ["usr/lib/1", "usr/lib/2", "3", "usr/lib/4", "usr/lib/deep/5", "not/there/6"])
        expect(paths).toContain(path);
      expect(tree.lib).toMatchObject({ type: "symlink" });
      expect(tree["usr/again"]).toMatchObject({ type: "symlink" });
      expect(tree["usr/lib"]).toMatchObject({ mode: "711" });
    });
  });

  it("has a file of a hard link whose target is below", async () => {
    const data = Buffer.alloc(10_000, "x");
    const base = [
      { ...file("a/target"), data, mode: 0o4755, uid: 3, mtime: -1.5 },
      symlink("a/link", "nowhere"),
      symlink("b", "a"),
    ];
    const links = [hardLink("one", "a/target"), hardLink("two", "/b/target"), hardLink("three", "a/link")];
    await stack([base, links], (tree) => {
      expect(tree.one).toEqual(tree["a/target"]);
      expect(tree.two).toEqual(tree["a/target"]);
      expect(tree.three).toEqual(tree["a/link"]);
    });
    const none = archive([hardLink("one", "a/none")]);
    await shop.refuses(none, ["one", "a/none", "neither in the layer nor in those below"]);
  });

  it("removes what it has a whiteout for, whatever the order, and shows what it has itself", async () => {
    const base = ["a/1", "a/2", "b/1", "c/1", "d/x/1", "d/y", "e/1"].map((name) => file(name));
    const layer = [
      whiteout("a/1"),
      file("b/2"),
      file("b/.wh..wh..opq", ""),
      file("c/2"),
      whiteout("c"),
      whiteout("d"),
      file("d/x/2"),
      whiteout("e/1"),
      file("e/1", "new"),
      whiteout("nothing"),
      file("a/.wh..wh.aufs", ""),
      file(".wh..wh.plnk/1.2", "of aufs"),
      hardLink("aufs", ".wh..wh.plnk/1.2"),
    ];
    await stack([base, layer], (tree) => {
      const files = Object.keys(tree).filter((path) => tree[path]!.type === "file");
      expect(files.sort()).toEqual(["a/2", "aufs", "b/2", "c/2", "d/x/2", "e/1"]);
      expect(Object.keys(tree).filter((path) => path.includes(".wh."))).toEqual([]);
      expect(tree["e/1"]).toMatchObject({ size: "3" });
      expect(tree.aufs).toMatchObject({ size: "7" });
    });
  });

  it("hides all that is below when its root is opaque", async () => {
    const base = ["a/1", "b/1", "c"].map((name) => file(name));
    await stack([base, [file("a/2"), file(".wh..wh..opq", ""), file("c", "new"), file("d")]], (tree) => {
      expect(Object.keys(tree).sort()).toEqual(["", "a", "a/2", "c", "d"]);
      expect(tree.c).toMatchObject({ size: "3" });
    });
  });

  it("has the last of several entries", async () => {
    const layer = [
      file("f/below/1"),
      file("f", "now a file"),
      file("g", "was a file"),
      file("h", "before"),
      directory("g", { mode: 0o700 }),
      file("g/in"),
      file("h", "after"),
      hardLink("i", "h"),
      file("h", "another one"),
    ];
    await stack([layer], (tree) => {
      expect(Object.keys(tree).sort()).toEqual(["", "f", "g", "g/in", "h", "i"]);
      expect(tree.f).toMatchObject({ type: "file", size: "10" });
      expect(tree.g).toMatchObject({ type: "directory", mode: "700" });
      expect(tree.h).toMatchObject({ size: "11" });
      expect(tree.i).toMatchObject({ size: "5" });
    });
  });

  it("is what GNU tar makes of it over the files below", { timeout: 600_000 }, async () => {
    let compared = 0;
    const layer = fc.array(anyEntry, { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(layer, layer, fc.array(fc.nat(1000), { maxLength: 4 }), async (lower, upper, removed) => {
        const files = shop.make("files");
        if (extract(archive(lower), files, shop.path("tar")).status !== 0) return;
        // Some of what is below is removed: there, and by whiteouts, which may come anywhere.
        const paths = Object.keys(treeOf(files)).filter((path) => path !== "" && !path.includes("\\"));
        const upperFiles = shop.path("files");
        execFileSync("cp", ["-a", files, upperFiles]);
        const chosen = paths.length === 0 ? [] : [...new Set(removed.map((index) => paths[index % paths.length]!))];
        const gone = chosen.filter((path) => !chosen.some((other) => path.startsWith(`${other}/`)));
        for (const path of gone)
          rmSync(Buffer.concat([Buffer.from(`${upperFiles}/`), Buffer.from(path, "latin1")]), {
            recursive: true,
            force: true,
          });
        if (extract(archive(upper), upperFiles, shop.path("tar")).status !== 0) return;
        const timeless = (path: string) => !isNamed(upper, path);
        const whiteouts = gone.map(whiteout);
        const half = Math.floor(whiteouts.length / 2);
        compared++;
        const layers = [lower, [...whiteouts.slice(0, half), ...upper, ...whiteouts.slice(half)]];
        const stacked = stack(layers, (tree) => {
          const expected = treeOf(upperFiles, { withoutLinks: true, timeless });
          for (const [path, of] of Object.entries(tree)) if (of.type === "directory" && timeless(path)) delete of.mtime;
          expect(tree).toEqual(expected);
        });
        // A whiteout in a directory that the layer replaces by a file contradicts it.
        await stacked.catch((error) => expect(error.message).toContain("is in the way"));
      }),
      { numRuns: times(400, 40), seed: SEED },
    );
    expect(compared).toBeGreaterThan(times(50, 3));
  });
});
