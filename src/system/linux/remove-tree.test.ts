import { execFileSync, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { mountNow, unmountNow } from "../mount/kernel-mount.js";
import { diskUsage } from "./disk-usage.js";
import { removeTree } from "./remove-tree.js";

let dir: string;
let tree: string;
let outside: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "tree-"));
  tree = join(dir, "tree");
  outside = join(dir, "outside");
  for (const path of [tree, outside]) mkdirSync(path);
  writeFileSync(join(outside, "kept"), "kept");
});
afterEach(() => {
  // Of a test that has failed.
  for (const path of ["tree/mounted", "tree/a/mounted"]) {
    try {
      unmountNow(join(dir, path));
    } catch {
      // Nothing is mounted there.
    }
  }
  expect(readFileSync(join(outside, "kept"), "utf8")).toBe("kept");
  execFileSync("rm", ["-rf", "--one-file-system", dir]);
});

/** A file or directory by a path that may be any bytes. */
const bytes = (path: string, ...name: number[]) => Buffer.concat([Buffer.from(`${path}/`), Buffer.from(name)]);

/** In 512 bytes, as du(1) counts them. */
const blocksOf = (path: string) =>
  Number(execFileSync("du", ["--summarize", "--block-size=512", path], { encoding: "utf8" }).split("\t")[0]);

test("all kinds of files, and names that are no text, go; what links lead to stays", async () => {
  mkdirSync(join(tree, "a/b/c"), { recursive: true });
  writeFileSync(join(tree, "a/b/file"), "");
  writeFileSync(bytes(join(tree, "a"), 0xff, 0xfe, 0x0a), "");
  mkdirSync(bytes(tree, 0x80));
  writeFileSync(Buffer.concat([bytes(tree, 0x80), Buffer.from("/file")]), "");
  symlinkSync(outside, join(tree, "a/link"));
  symlinkSync("../outside", join(tree, "link"));
  symlinkSync("nowhere", join(tree, "dangling"));
  execFileSync("mkfifo", [join(tree, "a/fifo")]);
  execFileSync("mknod", [join(tree, "a/whiteout"), "c", "0", "0"]);
  // As an earlier removal leaves it.
  mkdirSync(join(tree, "removed-0/x"), { recursive: true });
  await removeTree(tree);
  expect(existsSync(tree)).toBe(false);
  await removeTree(tree);
});

test("what is none itself is not followed", async () => {
  const link = join(dir, "link");
  symlinkSync(outside, link);
  await expect(removeTree(link)).rejects.toThrow(/ELOOP|ENOTDIR/);
  await expect(removeTree(join(outside, "kept"))).rejects.toThrow("ENOTDIR");
});

test("directories in each other, deeper than paths can be long", async () => {
  const names = Array.from({ length: 900 }, () => "d").join("/");
  for (let i = 0; i < 4; i++) {
    const next = join(dir, `next-${i}`);
    mkdirSync(join(next, names), { recursive: true });
    renameSync(tree, join(next, names, "d"));
    renameSync(next, tree);
  }
  await expect(diskUsage(tree)).rejects.toThrow("more than 500 directories in each other");
  await removeTree(tree);
  expect(existsSync(tree)).toBe(false);
});

test("what is mounted in it stays, and keeps the rest from nothing else", async () => {
  mkdirSync(join(tree, "a/mounted"), { recursive: true });
  writeFileSync(join(tree, "file"), "");
  mountNow(outside, join(tree, "a/mounted"), "", 4096 /* MS_BIND */);
  await expect(removeTree(tree)).rejects.toThrow("EBUSY");
  expect(readdirSync(outside)).toEqual(["kept"]);
  const moved = execFileSync("findmnt", ["--noheadings", "--output", "TARGET", "--list"], { encoding: "utf8" })
    .split("\n")
    .find((line) => line.startsWith(`${tree}/`));
  unmountNow(moved!);
  await removeTree(tree);
  expect(existsSync(tree)).toBe(false);
});

test("who changes it meanwhile gets nothing else removed", async () => {
  for (let i = 0; i < 200; i++) mkdirSync(join(tree, `d${i}/in/it`), { recursive: true });
  // Puts links in the place of directories, as fast as it can.
  const swap = `cd '${tree}' && while :; do for d in d*; do mv "$d/in" "$d/was" && ln -s '${outside}' "$d/in"; done; done`;
  const child = spawn("sh", ["-c", swap], { stdio: "ignore" });
  try {
    await removeTree(tree).catch(() => {});
  } finally {
    child.kill("SIGKILL");
  }
  await removeTree(tree);
  expect(readdirSync(outside)).toEqual(["kept"]);
});

test("a big one does not hold up the loop", async () => {
  const script = `for d in $(seq 20); do mkdir d$d; for f in $(seq 100); do : > d$d/$f; done; done; ln d1/1 d2/linked`;
  execFileSync("bash", ["-c", script], { cwd: tree });
  let turns = 0;
  let isOver = false;
  const turn = () => {
    turns++;
    if (!isOver) setImmediate(turn);
  };
  turn();
  expect((await diskUsage(tree)).inodes).toBe(1 + 20 + 20 * 100);
  await removeTree(tree);
  isOver = true;
  // Others had their turn every few files.
  expect(turns).toBeGreaterThan(200);
  expect(existsSync(tree)).toBe(false);
});

test("usage counts each file once, and nothing that is mounted or linked", async () => {
  mkdirSync(join(tree, "a"));
  writeFileSync(join(tree, "a/big"), Buffer.alloc(300_000));
  execFileSync("ln", [join(tree, "a/big"), join(tree, "again")]);
  execFileSync("truncate", ["--size=1G", join(tree, "sparse")]);
  symlinkSync("/", join(tree, "root"));
  writeFileSync(bytes(tree, 0xff), "x");
  const before = blocksOf(tree);
  mkdirSync(join(tree, "mounted"));
  mountNow("tmpfs", join(tree, "mounted"), "tmpfs", 0);
  writeFileSync(join(tree, "mounted/file"), Buffer.alloc(1_000_000));
  const usage = await diskUsage(tree);
  expect(usage.size / 512).toBe(before);
  expect(usage.inodes).toBe(6);
  unmountNow(join(tree, "mounted"));
  rmSync(join(tree, "mounted"), { recursive: true });
});
