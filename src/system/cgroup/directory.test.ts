import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CgroupDirectory } from "./directory.js";

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "cgroup-directory-"));
});
afterEach(() => rmSync(root, { recursive: true }));

function write(directory: string, pids: Iterable<number>): void {
  mkdirSync(join(root, directory), { recursive: true });
  writeFileSync(join(root, directory, "cgroup.procs"), [...pids].map((pid) => `${pid}\n`).join(""));
}

test("any pids in any order, here and below", () => {
  const pids = fc.array(fc.integer({ min: 1, max: 4_194_304 }));
  fc.assert(
    fc.property(pids, pids, pids, (here, below, deep) => {
      write("", here);
      write("a", below);
      write("b/c", deep);
      const expected = [...new Set([...here, ...below, ...deep])].sort((a, b) => a - b);
      expect(new CgroupDirectory(root).pids()).toEqual(expected);
    }),
    { numRuns: 50 },
  );
});

test("more than one read gives: a pid may be cut in two", () => {
  const many = Array.from({ length: 30_000 }, (_, i) => 1_000_001 + i);
  write("", many);
  expect(new CgroupDirectory(root).pids()).toEqual(many);
});

test("a process of another pid namespace (0) is left out", () => {
  write("", [0, 7, 0]);
  expect(new CgroupDirectory(root).pids()).toEqual([7]);
});

test("a directory without the file, or that is gone, has none", () => {
  const directory = new CgroupDirectory(root);
  expect(directory.pids()).toEqual([]);
  expect(directory.gone).toBe(false);
  rmSync(root, { recursive: true });
  expect(directory.pids()).toEqual([]);
  expect(directory.gone).toBe(true);
  mkdirSync(root);
});
