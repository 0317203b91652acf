/** Images in Debian's `ctr` 1.6, as far as no registry and no container takes part. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { useContainerd1 } from "../harness/containerd1.js";
import { makeTestImage, type StandardImage } from "../harness/test-images.js";
import { ctr1, removeImages, rows, runCtr1, spaceOf, withoutCtr1 } from "./ctr1.js";

const fixture = useContainerd1();

describe.skipIf(withoutCtr1)("Debian's ctr: images", () => {
  const ctr = (...args: string[]) => ctr1(fixture.daemon, ...args);
  const run = (...args: string[]) => runCtr1(fixture.daemon, args);
  const path = (name: string) => join(fixture.daemon.dir, name);
  let base: StandardImage;
  let edges: StandardImage;

  beforeAll(async () => {
    base = await makeTestImage(path("base"), "base");
    edges = await makeTestImage(path("edges"), "edges");
    for (const { layout } of [base, edges]) await layout.archive(`${layout.dir}.tar`);
    await base.layout.dockerArchive(path("docker.tar"), base.image, ["base:1", "registry.test/other:2"]);
  });
  afterEach(() => removeImages(fixture.daemon));
  afterAll(() => fixture.daemon.expectNothingLeft());

  /** What `images ls` tells of a name. */
  const listed = async (name: string) => rows(await ctr("images", "ls")).find(([first]) => first === name);

  test("import, ls, check: a layout in an archive", async () => {
    const { image, name } = edges;
    const { digest } = image.manifest;
    expect(await ctr("images", "import", path("edges.tar"))).toBe(`unpacking ${name} (${digest})...done\n`);
    const row = [name, image.manifest.mediaType, digest, expect.any(String), "MiB", "linux/amd64", "-"];
    expect(rows(await ctr("images", "ls"))).toEqual([row]);
    expect(await ctr("images", "ls", "-q")).toBe(`${name}\n`);
    expect(await ctr("images", "ls", "-q", "name==nope")).toBe("");
    expect(await ctr("images", "ls", "-q", `name~=${name.slice(0, 5)}`)).toBe(`${name}\n`);
    const sizes = [expect.any(String), expect.stringMatching(/^MiB\//), "MiB"];
    const checked = [name, image.manifest.mediaType, digest, "complete", "(4/4)", ...sizes, "true"];
    expect(rows(await ctr("images", "check"))).toEqual([checked]);
    expect(await ctr("images", "check", "-q", "name==nope")).toBe("");
  });

  test("import: an archive of `docker save`, and one on stdin", async () => {
    const lines = (await ctr("images", "import", path("docker.tar"))).trimEnd().split("\n");
    const names = ["docker.io/library/base:1", "registry.test/other:2"];
    expect(lines.map((line) => line.split(" ")[1])).toEqual(names);
    expect((await ctr("images", "ls", "-q")).trimEnd().split("\n")).toEqual(names);
    const { status } = await runCtr1(fixture.daemon, ["images", "import", "-"], readFileSync(path("base.tar")));
    expect(status).toBe(0);
    expect(await listed(base.name)).toMatchObject({ 2: base.image.manifest.digest });
  });

  test("import --base-name --digests --no-unpack", async () => {
    const flags = ["--base-name", "registry.test/named", "--digests", "--no-unpack"];
    await ctr("images", "import", ...flags, path("base.tar"));
    const byDigest = `registry.test/named@${base.image.manifest.digest}`;
    expect((await ctr("images", "ls", "-q")).trimEnd().split("\n").sort()).toEqual([base.name, byDigest].sort());
    expect(rows(await ctr("images", "check"))[0]!.at(-1)).toBe("false");
    expect(rows(await ctr("snapshots", "ls"))).toEqual([]);
  });

  test("import of what is no image: an error, and nothing is kept", async () => {
    writeFileSync(path("garbage.tar"), "no archive at all".repeat(100));
    expect(await run("images", "import", path("garbage.tar"))).toMatchObject({ status: 1, stdout: "" });
    expect(await ctr("images", "ls", "-q")).toBe("");
  });

  test("what its content and its snapshots are, and how they hang together", async () => {
    const { image } = edges;
    await ctr("images", "import", path("edges.tar"));
    const blobs = (await ctr("content", "ls", "-q")).trimEnd().split("\n");
    const all = [image.manifest, image.config, ...image.layers.map(({ descriptor }) => descriptor)];
    expect(blobs).toEqual(expect.arrayContaining(all.map(({ digest }) => digest)));
    const labels = new Map(rows(await ctr("content", "ls")).map((words) => [words[0], words.at(-1)!.split(",")]));
    const layers = image.layers.map(
      ({ descriptor }, number) => `containerd.io/gc.ref.content.l.${number}=${descriptor.digest}`,
    );
    const config = `containerd.io/gc.ref.content.config=${image.config.digest}`;
    expect(labels.get(image.manifest.digest)!.sort()).toEqual([config, ...layers].sort());
    expect(labels.get(image.config.digest)).toEqual([
      `containerd.io/gc.ref.snapshot.overlayfs=${image.chainIds.at(-1)}`,
    ]);
    for (const { descriptor, diffId } of image.layers) {
      expect(labels.get(descriptor.digest)).toEqual([`containerd.io/uncompressed=${diffId}`]);
    }
    const chain = image.chainIds.map((id, number) => [id, ...image.chainIds.slice(number - 1, number), "Committed"]);
    const snapshots = rows(await ctr("snapshots", "ls")).sort();
    expect(snapshots).toEqual(chain.map((words) => words.filter((word) => word !== undefined)).sort());
    expect(await ctr("content", "get", image.manifest.digest)).toBe(
      readFileSync(edges.layout.path(image.manifest), "utf8"),
    );
  });

  test("tag, label", async () => {
    await ctr("images", "import", path("base.tar"));
    expect(await ctr("images", "tag", base.name, "registry.test/b:2", "registry.test/c:3")).toBe(
      "registry.test/b:2\nregistry.test/c:3\n",
    );
    expect(await run("images", "tag", base.name, "registry.test/b:2")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('image "registry.test/b:2": already exists'),
    });
    expect(await ctr("images", "tag", "--force", base.name, "registry.test/b:2")).toBe("registry.test/b:2\n");
    expect(await run("images", "tag", "registry.test/nope", "registry.test/d")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('image "registry.test/nope": not found'),
    });
    expect(await listed("registry.test/c:3")).toMatchObject({ 2: base.image.manifest.digest });
    expect(await ctr("images", "label", base.name, "a=b", "c=d")).toMatch(/^(a=b,c=d|c=d,a=b)\n$/);
    expect(await ctr("images", "label", base.name, "a=")).toBe("c=d\n");
    expect((await listed(base.name))!.at(-1)).toBe("c=d");
    expect((await listed("registry.test/b:2"))!.at(-1)).toBe("-");
    expect(await ctr("images", "ls", "-q", "labels.c==d")).toBe(`${base.name}\n`);
  });

  test("export: what another one imports is the same", async () => {
    await ctr("images", "import", path("edges.tar"));
    await ctr("images", "export", path("exported.tar"), edges.name);
    const names = execFileSync("tar", ["-tf", path("exported.tar")], { encoding: "utf8" }).split("\n");
    expect(names).toEqual(expect.arrayContaining(["oci-layout", "index.json", "manifest.json"]));
    expect(names.filter((name) => /^blobs\/sha256\/[0-9a-f]{64}$/.test(name))).toHaveLength(5);
    await removeImages(fixture.daemon);
    expect(await ctr("content", "ls", "-q")).toBe("");
    await ctr("images", "import", path("exported.tar"));
    expect(await listed(edges.name)).toMatchObject({ 2: edges.image.manifest.digest });
    expect(await run("images", "export", path("nothing.tar"), "registry.test/nope")).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("registry.test/nope"),
    });
  });

  test("mount and unmount: to look into, and to write to", async () => {
    await ctr("images", "import", path("edges.tar"));
    const target = path("mounted");
    mkdirSync(target);
    const top = edges.image.chainIds.at(-1)!;
    expect(await ctr("images", "mount", edges.name, target)).toBe(`${top}\n${target}\n`);
    try {
      expect(readFileSync(join(target, "data/1/new.txt"), "utf8")).toBe("new");
      expect(readdirSync(join(target, "data/1"))).toEqual(["new.txt"]);
      expect(readdirSync(join(target, "data/0"))).not.toContain("1.txt");
      expect(existsSync(join(target, "home"))).toBe(false);
      expect(() => writeFileSync(join(target, "new"), "")).toThrow("EROFS");
      expect(rows(await ctr("snapshots", "ls"))).toContainEqual([target, top, "View"]);
    } finally {
      await ctr("images", "unmount", "--rm", target);
    }
    expect(readdirSync(target)).toEqual([]);
    expect(rows(await ctr("snapshots", "ls"))).toHaveLength(3);
    await ctr("images", "mount", "--rw", edges.name, target);
    try {
      writeFileSync(join(target, "etc/passwd"), "changed");
      rmSync(join(target, "data"), { recursive: true });
      expect(readdirSync(target)).not.toContain("data");
    } finally {
      await ctr("images", "unmount", target);
    }
    // The changed file, and what stands for the removed directory, among them.
    expect(rows(await ctr("snapshots", "usage", target))).toEqual([
      [target, expect.stringMatching(/^\d+\.\d$/), "KiB", expect.stringMatching(/^[4-9]$/)],
    ]);
    await ctr("snapshots", "rm", target);
    // Its lease would keep it for a day.
    await ctr("leases", "delete", "--sync", target);
  });

  test("rm: one name of two keeps the rest; the last one, with --sync, gives the space back", async () => {
    const before = spaceOf(fixture.daemon);
    await ctr("images", "import", path("edges.tar"));
    const full = spaceOf(fixture.daemon);
    expect(full - before).toBeGreaterThan(5 << 20);
    await ctr("images", "tag", edges.name, "registry.test/second:1");
    expect(await ctr("images", "rm", "--sync", edges.name)).toBe(`${edges.name}\n`);
    expect(spaceOf(fixture.daemon)).toBeGreaterThan(full - (1 << 20));
    expect(await ctr("images", "rm", "--sync", "registry.test/second:1")).toBe("registry.test/second:1\n");
    expect(await ctr("content", "ls", "-q")).toBe("");
    expect(rows(await ctr("snapshots", "ls"))).toEqual([]);
    expect(spaceOf(fixture.daemon) - before).toBeLessThan(1 << 20);
    expect(await run("images", "rm", "registry.test/nope")).toMatchObject({ status: 0, stdout: "" });
  });

  test("namespaces: an image of one is not in another, and its blobs outlive the other's", async () => {
    await ctr("images", "import", path("base.tar"));
    await ctr("-n", "second", "images", "import", path("base.tar"));
    await ctr("images", "rm", "--sync", base.name);
    expect(await ctr("images", "ls", "-q")).toBe("");
    expect(await ctr("content", "ls", "-q")).toBe("");
    expect(await ctr("-n", "second", "images", "ls", "-q")).toBe(`${base.name}\n`);
    expect(rows(await ctr("-n", "second", "images", "check"))[0]!.at(-1)).toBe("true");
    await ctr("-n", "second", "images", "export", path("second.tar"), base.name);
    await ctr("-n", "second", "images", "rm", "--sync", base.name);
    expect(await ctr("-n", "second", "content", "ls", "-q")).toBe("");
    await ctr("namespaces", "rm", "second");
  });
});
