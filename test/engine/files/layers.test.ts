/** What a container has changed, and a copy of that; its root file system while it runs and while it does not. */
import { execFileSync, spawn } from "node:child_process";
import { closeSync, lstatSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { type Change, ContainerFiles } from "../../../src/core/engine/files/container-files.js";
import { openRootOfLayers, openRootOfProcess } from "../../../src/core/engine/files/open-root.js";
import type { Root } from "../../../src/core/engine/files/root.js";
import type { IdMaps } from "../../../src/core/files/file-owners.js";
import { startTimeOf } from "../../../src/system/linux/proc-stat.js";
import { archive } from "../../images/layers/archive.js";
import { workshop } from "../../images/layers/layers.js";
import { treeOf } from "../../images/layers/tree.js";
import { failureOf, get, put } from "./file-workshop.js";

const shop = workshop();
const files = new ContainerFiles();
const NEVER = new AbortController().signal;

/** Directories of an overlay, with something below; `change` works in it while it is mounted. */
function overlay(change: string) {
  const base = shop.make("overlay");
  const [lower, upper, work, merged, place] = ["lower", "upper", "work", "merged", "place"].map((name) => {
    mkdirSync(join(base, name));
    return join(base, name);
  }) as [string, string, string, string, string];
  execFileSync("sh", [
    "-ec",
    `cd "$1"; mkdir -p etc usr/bin var/cache/apt opt/deep/er; echo 1 > etc/passwd; echo 2 > etc/same; echo x > usr/bin/tool
     echo c > var/cache/apt/list; echo d > var/cache/other; echo e > opt/deep/er/file; ln -s tool usr/bin/link; chmod 755 .`,
    "sh",
    lower,
  ]);
  const options = `index=off,redirect_dir=nofollow,lowerdir=${lower},upperdir=${upper},workdir=${work}`;
  execFileSync("mount", ["-t", "overlay", "-o", options, "overlay", merged]);
  try {
    execFileSync("sh", ["-ec", `cd "$1"; ${change}`, "sh", merged]);
  } finally {
    execFileSync("umount", [merged]);
  }
  return { lower, upper, work, place, merged };
}

async function changes(layer: { lower: string; upper: string }, idMaps?: IdMaps): Promise<string[]> {
  const all: Change[] = [];
  for await (const some of files.changes({ key: layer.upper, ...layer, idMaps }, NEVER)) all.push(...some);
  const letters = { modified: "C", added: "A", deleted: "D" };
  return all.map(({ path, kind }) => `${letters[kind]} ${path}`);
}

describe("what a container has changed", () => {
  it("is what docker diff tells: with parents, without what is as it was, whole directories that were replaced", async () => {
    const layer = overlay(`
      echo new > etc/new; echo changed > etc/passwd; touch -r etc/same mark; chown 0:0 etc/same; rm mark
      rm usr/bin/tool; rm -r var/cache; mkdir var/cache; echo n > var/cache/fresh; mkdir -p srv/a/b
      rm -r opt/deep; echo file > opt/deep; chmod 700 usr`);
    expect(await changes(layer)).toEqual([
      "C /etc",
      "A /etc/new",
      "C /etc/passwd",
      "C /opt",
      "C /opt/deep",
      "A /srv",
      "A /srv/a",
      "A /srv/a/b",
      "C /usr",
      "C /usr/bin",
      "D /usr/bin/tool",
      "C /var",
      "C /var/cache",
      "D /var/cache/apt",
      "A /var/cache/fresh",
      "D /var/cache/other",
    ]);
  });

  it("is nothing of a container that has done nothing", async () => {
    expect(await changes(overlay("true"))).toEqual([]);
  });

  it("is all there is without anything below", async () => {
    const { upper } = overlay("echo a > a");
    expect(await changes({ lower: "", upper })).toEqual(["A /a"]);
  });
});

describe("a copy of a container's own layer", () => {
  it("is the same to overlayfs: removed files, attributes, hard links, holes, times; for other ids where it has them", async () => {
    const source = overlay(`
      rm -r var/cache; mkdir var/cache; echo n > var/cache/fresh; rm usr/bin/tool; echo one > one; ln one two; mkfifo pipe
      ln -s nowhere link; chown -h 5:6 link; chown 5:6 one; chmod 4755 one; truncate -s 3M holes; echo end >> holes
      mknod null c 1 3; chmod 1777 opt; chown 7:8 opt; touch -d @1234567.25 one opt`);
    const to = shop.make("copy");
    await files.copy(
      "key",
      { directory: source.upper, idMaps: undefined },
      { directory: to, idMaps: undefined },
      NEVER,
    );
    // Overlayfs has one file for whiteouts, with names in its own directory, too.
    const timeless = { timeless: (path: string) => path === "", withoutLinks: true };
    expect(treeOf(to, timeless)).toEqual(treeOf(source.upper, timeless));
    expect(treeOf(to).one!.links).toBe("one two");
    expect(lstatSync(join(to, "holes")).blocks * 512).toBeLessThan(1 << 20);
    expect(await changes({ lower: source.lower, upper: to })).toEqual(await changes(source));

    const map = (outside: number) => [{ inside: 0, outside, length: 1000 }];
    const mapped = shop.make("mapped");
    const maps = { uids: map(100_000), gids: map(200_000) };
    await files.copy("key", { directory: source.upper, idMaps: undefined }, { directory: mapped, idMaps: maps }, NEVER);
    expect(treeOf(mapped).one).toMatchObject({
      owner: "100005:200006",
      mode: "4755",
      content: treeOf(to).one!.content!,
    });
    const back = shop.make("back");
    await files.copy("key", { directory: mapped, idMaps: maps }, { directory: back, idMaps: undefined }, NEVER);
    expect(treeOf(back, timeless)).toEqual(treeOf(to, timeless));
  });
});

describe("the root file system of a container", () => {
  it("that does not run is its layers with its own over them, and nothing is mounted anywhere else", async () => {
    const { lower, upper, work, place, merged } = overlay("echo own > own");
    // Other tests mount and unmount theirs meanwhile.
    const mounted = () => readFileSync("/proc/self/mountinfo", "utf8").match(new RegExp(`.*${dirname(lower)}.*`, "g"));
    const root: Root = {
      ...{ key: upper, idMaps: undefined, user: { uid: 0, gid: 0 } },
      open: async (forWriting) => openRootOfLayers([lower], forWriting ? { upper, work } : undefined, place),
    };
    await put(
      root,
      "/etc",
      archive([
        { name: "put", data: Buffer.from("x") },
        { name: "passwd", data: Buffer.from("y") },
      ]),
    );
    expect(readdirSync(join(upper, "etc")).sort()).toEqual(["passwd", "put"]);
    expect(readFileSync(join(lower, "etc/passwd"), "utf8")).toBe("1\n");
    expect((await get(root, "/etc/passwd")).includes("1\n")).toBe(true);
    expect(mounted()).toBe(null);
    expect(readdirSync(merged)).toEqual([]);
    const readOnly: Root = { ...root, open: async () => openRootOfLayers([lower], undefined, place) };
    expect(await failureOf(put(readOnly, "/etc", archive([{ name: "put" }])))).toMatchObject({
      kind: "failed-precondition",
    });
  });

  it("that runs is what its process sees, until that has ended", async () => {
    const directory = shop.make("running");
    mkdirSync(join(directory, "tmp"));
    const script = 'mount -t tmpfs tmpfs "$1/tmp" && echo ready && exec sleep 1000';
    const child = spawn("unshare", ["-m", "--propagation", "private", "sh", "-c", script, "sh", directory]);
    try {
      await new Promise((resolve) => child.stdout.once("data", resolve));
      const startTime = startTimeOf(child.pid!)!;
      const root: Root = {
        ...{ key: directory, idMaps: undefined, user: { uid: 0, gid: 0 } },
        open: async () => openRootOfProcess(child.pid!, startTime),
      };
      await put(root, join(directory, "tmp"), archive([{ name: "in-tmpfs", data: Buffer.from("x") }]));
      expect(readdirSync(join(directory, "tmp"))).toEqual([]);
      expect((await get(root, join(directory, "tmp/in-tmpfs"))).includes("in-tmpfs")).toBe(true);
      for (const path of ["/proc/self", "/proc", "/sys/kernel"])
        expect((await failureOf(get(root, path))).message, path).toMatch(/kernel's own files|no such file/);
      expect((await failureOf(put(root, "/proc/sys/kernel", archive([{ name: "hostname" }])))).message).toContain(
        "kernel's own files",
      );
      const open = openRootOfProcess(child.pid!, startTime);
      closeSync(open);
      expect(() => openRootOfProcess(child.pid!, "1")).toThrow("has stopped");
      const exited = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await exited;
      expect(() => openRootOfProcess(child.pid!, startTime)).toThrow("has stopped");
    } finally {
      child.kill("SIGKILL");
    }
  });
});
