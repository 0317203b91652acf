import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { removeTree } from "./partial-directory.js";

test("what is mounted in a directory, also of the same file system, is not removed with it", () => {
  const dir = mkdtempSync(join(tmpdir(), "partial-directory-"));
  const [theirs, ours] = [join(dir, "theirs"), join(dir, "ours")];
  const place = join(ours, "below", "mounted");
  for (const path of [theirs, place, join(ours, "other")]) mkdirSync(path, { recursive: true });
  writeFileSync(join(theirs, "file"), "");
  writeFileSync(join(ours, "file"), "");
  execFileSync("mount", ["--bind", theirs, place]);
  try {
    expect(() => removeTree(ours)).toThrow(/EBUSY/);
    expect(existsSync(join(theirs, "file"))).toBe(true);
    expect(readdirSync(ours)).toEqual(["below"]);
  } finally {
    execFileSync("umount", ["--lazy", place]);
  }
  removeTree(ours);
  expect(existsSync(ours)).toBe(false);
  expect(existsSync(join(theirs, "file"))).toBe(true);
  rmSync(dir, { recursive: true });
});
