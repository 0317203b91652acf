/** Snapshots in Debian's `ctr` 1.6: all its commands, with mounts that the test makes itself as the command tells them. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { useContainerd1 } from "../harness/containerd1.js";
import { makeTestImage, type StandardImage } from "../harness/test-images.js";
import { ctr1, removeImages, rows, runCtr1, startCtr1, withoutCtr1 } from "./ctr1.js";

const fixture = useContainerd1();

describe.skipIf(withoutCtr1)("Debian's ctr: snapshots", () => {
  const ctr = (...args: string[]) => ctr1(fixture.daemon, "snapshots", ...args);
  const run = (...args: string[]) => runCtr1(fixture.daemon, ["snapshots", ...args]);
  const path = (name: string) => join(fixture.daemon.dir, name);
  const keys = async () => rows(await ctr("ls")).map(([key]) => key);
  let small: StandardImage;
  let top: string;

  beforeAll(async () => {
    small = await makeTestImage(path("small"), "small");
    top = small.image.chainIds.at(-1)!;
    await small.layout.archive(path("small.tar"));
    await ctr1(fixture.daemon, "images", "import", path("small.tar"));
    mkdirSync(path("target"));
  });
  afterAll(async () => {
    await removeImages(fixture.daemon);
    await fixture.daemon.expectNothingLeft();
  });

  /** Makes the mounts of a snapshot as the command says, and looks into them. */
  const withMounted = async (key: string, work: (directory: string) => void) => {
    const target = path("target");
    const command = (await ctr("mounts", target, key)).trim();
    expect(command).toMatch(/^mount -t (overlay|bind) /);
    execFileSync("sh", ["-c", command]);
    try {
      work(target);
    } finally {
      execFileSync("umount", [target]);
    }
  };

  test("ls, info, tree, usage of what an import has made", async () => {
    const [lowest] = small.image.chainIds;
    expect(rows(await ctr("ls")).sort()).toEqual(
      [
        [lowest, "Committed"],
        [top, lowest, "Committed"],
      ].sort(),
    );
    expect(JSON.parse(await ctr("info", top))).toMatchObject({ Kind: "Committed", Name: top, Parent: lowest });
    expect(await ctr("tree")).toBe(` ${lowest}\n  \\_ ${top}\n`);
    const usage = rows(await ctr("usage", top));
    expect(usage).toEqual([[top, expect.any(String), expect.stringMatching(/^[KM]iB$/), expect.any(String)]]);
    expect(rows(await ctr("usage"))).toHaveLength(2);
  });

  test("prepare, mounts, usage, commit, view, diff, rm", async () => {
    expect(await ctr("prepare", "work", top)).toBe("");
    await withMounted("work", (directory) => {
      writeFileSync(join(directory, "new"), "a new file");
      rmSync(join(directory, "data/0"), { recursive: true });
      writeFileSync(join(directory, "data/1/0.txt"), "changed");
      rmSync(join(directory, "data/2"), { recursive: true });
      mkdirSync(join(directory, "data/2"));
      writeFileSync(join(directory, "data/2/own.txt"), "own");
    });
    const changed = (directory: string) => {
      expect(readFileSync(join(directory, "new"), "utf8")).toBe("a new file");
      expect(readFileSync(join(directory, "data/1/0.txt"), "utf8")).toBe("changed");
      expect(readdirSync(join(directory, "data/2"))).toEqual(["own.txt"]);
      expect(existsSync(join(directory, "data/0"))).toBe(false);
      expect(readdirSync(join(directory, "data"))).toHaveLength(4);
    };
    // What is mounted again is what was written.
    await withMounted("work", changed);
    const [[, , , inodes]] = rows(await ctr("usage", "work")) as [string[]];
    expect(Number(inodes)).toBeGreaterThanOrEqual(7);
    expect(rows(await ctr("ls"))).toContainEqual(["work", top, "Active"]);
    const { stdout: ofActive } = await startCtr1(fixture.daemon, "snapshots", "diff", "work").result;
    expect(await ctr("commit", "done", "work")).toBe("");
    expect(rows(await ctr("ls"))).toContainEqual(["done", top, "Committed"]);
    expect(await keys()).not.toContain("work");

    expect(await ctr("view", "look", "done")).toBe("");
    // Nothing else keeps a view of ctr's: containerd collects it at the next chance.
    await ctr("label", "look", "containerd.io/gc.root=kept");
    expect(rows(await ctr("ls"))).toContainEqual(["look", "done", "View"]);
    await withMounted("look", (directory) => {
      changed(directory);
      expect(() => writeFileSync(join(directory, "more"), "")).toThrow("EROFS");
    });
    expect(await ctr("tree")).toContain("\\_ done\n      \\_ look\n");

    const { stdout: diff } = await startCtr1(fixture.daemon, "snapshots", "diff", "done").result;
    const names = (archive: Buffer) =>
      execFileSync("tar", ["-tzf", "-"], { input: archive, encoding: "utf8" })
        .split("\n")
        .map((name) => name.replace(/\/$/, ""))
        // Ours tells directories that something has changed in, the root among them.
        .filter((name) => !["", ".", "data", "data/1"].includes(name))
        .sort();
    const replaced = names(diff).filter((name) => name.startsWith("data/2"));
    expect(names(diff).filter((name) => !replaced.includes(name))).toEqual(["data/.wh.0", "data/1/0.txt", "new"]);
    // A directory in the place of another one is told as opaque, or by what has gone from it.
    expect(replaced).toEqual(expect.arrayContaining(["data/2", "data/2/own.txt"]));
    expect(replaced.some((name) => /\/\.wh\.(\.wh\.\.opq|\d+\.txt)$/.test(name))).toBe(true);
    expect(names(ofActive)).toEqual(names(diff));

    const withChildren = await run("rm", "done");
    expect(withChildren).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("cannot remove snapshot with child: failed precondition"),
    });
    await ctr("rm", "look", "done");
    expect(await keys()).toHaveLength(2);
  });

  test("prepare and view with --target print the mount's command", async () => {
    const { stdout } = await run("prepare", "--target", path("target"), "w", top);
    expect(stdout).toMatch(/^mount -t overlay overlay \S+ -o \S*lowerdir=\S+\n$/);
    const [lowest] = small.image.chainIds;
    expect((await run("view", "--target", path("target"), "v", lowest!)).stdout).toMatch(
      /^mount -t bind \S+ \S+ -o (ro,rbind|rbind,ro)\n$/,
    );
    // Nothing keeps a view of ctr's: containerd may have collected it.
    await run("rm", "v");
    await ctr("rm", "w");
  });

  test("without a parent", async () => {
    await ctr("prepare", "alone", "");
    await withMounted("alone", (directory) => {
      expect(readdirSync(directory)).toEqual([]);
      writeFileSync(join(directory, "first"), "1");
    });
    await ctr("commit", "lonely", "alone");
    await ctr("prepare", "child", "lonely");
    await withMounted("child", (directory) => expect(readdirSync(directory)).toEqual(["first"]));
    const { stdout } = await startCtr1(fixture.daemon, "snapshots", "diff", "lonely").result;
    expect(execFileSync("tar", ["-tzf", "-"], { input: stdout, encoding: "utf8" })).toContain("first");
    await ctr("rm", "child", "lonely");
  });

  test("diff --keep is a blob; label, and a lookup by one", async () => {
    await ctr("prepare", "k", top);
    await withMounted("k", (directory) => writeFileSync(join(directory, "kept"), "kept"));
    await ctr("commit", "kc", "k");
    const before = (await ctr1(fixture.daemon, "content", "ls", "-q")).split("\n");
    await startCtr1(fixture.daemon, "snapshots", "diff", "--keep", "--label", "made=here", "kc").result;
    const blobs = (await ctr1(fixture.daemon, "content", "ls", "-q")).split("\n");
    const made = blobs.filter((digest) => !before.includes(digest));
    expect(made).toHaveLength(1);
    expect(await ctr1(fixture.daemon, "content", "ls", "-q", "labels.made==here")).toBe(`${made[0]}\n`);
    await ctr1(fixture.daemon, "content", "rm", made[0]!);
    expect(await ctr("label", "kc", "a=b")).toContain("a=b");
    expect(JSON.parse(await ctr("info", "kc")).Labels).toMatchObject({ a: "b" });
    await ctr("rm", "kc");
  });

  test("unpack: the layers of an image whose blobs are there", async () => {
    const flags = ["--no-unpack", path("small.tar")];
    await ctr1(fixture.daemon, "-n", "other", "images", "import", ...flags);
    const other = (...args: string[]) => ctr1(fixture.daemon, "-n", "other", ...args);
    expect(rows(await other("snapshots", "ls"))).toEqual([]);
    const { digest } = small.image.manifest;
    expect(await other("snapshots", "unpack", digest)).toContain(`unpacking ${digest} (`);
    expect(rows(await other("snapshots", "ls")).map(([key]) => key)).toEqual(expect.arrayContaining([top]));
    expect(rows(await other("images", "check"))[0]!.at(-1)).toBe("true");
    await other("images", "rm", "--sync", small.name);
    expect(rows(await other("snapshots", "ls"))).toEqual([]);
    await other("namespaces", "rm", "other").catch(() => ctr1(fixture.daemon, "namespaces", "rm", "other"));
  });

  test("what is not there, and names that are taken", async () => {
    const gone = "snapshot nope does not exist: not found";
    for (const args of [
      ["rm", "nope"],
      ["info", "nope"],
      ["commit", "x", "nope"],
      ["usage", "nope"],
      ["mounts", "/", "nope"],
    ]) {
      expect(await run(...args), args[0]).toMatchObject({ status: 1, stderr: expect.stringContaining(gone) });
    }
    expect(await run("prepare", "x", "nope")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("not found"),
    });
    await ctr("prepare", "taken", top);
    expect(await run("prepare", "taken", top)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("already exists"),
    });
    expect(await run("commit", top, "taken")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("already exists"),
    });
    // An active snapshot is nobody's parent.
    expect(await run("prepare", "child", "taken")).toMatchObject({ status: 1 });
    await ctr("rm", "taken");
    expect(await keys()).toHaveLength(2);
  });
});
