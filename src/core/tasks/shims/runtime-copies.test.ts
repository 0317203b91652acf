import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findProgram } from "../../../system/linux/spawn.js";
import { RuntimeCopies } from "./runtime-copies.js";

let directory: string;
let copies: RuntimeCopies;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "ctd-copies-"));
  copies = new RuntimeCopies();
});
afterEach(() => {
  copies.close();
  rmSync(directory, { recursive: true });
  expect(openCopies()).toEqual([]);
});

const openCopies = () =>
  readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith("/memfd:runtime");
    } catch {
      // The one that the directory was read by.
      return false;
    }
  });

/** A program that works and has the mark of those that copy themselves. */
function install(name: string, program = "true"): string {
  const path = join(directory, name);
  writeFileSync(path, Buffer.concat([readFileSync(`/bin/${program}`), Buffer.from("_cloned:/proc/self/exe")]), {
    mode: 0o755,
  });
  return path;
}

/** Not for `toEqual`, which takes a minute for a runtime. */
const isCopyOf = (fd: number | undefined, path: string) =>
  fd !== undefined && readFileSync(`/proc/self/fd/${fd}`).equals(readFileSync(path));

test.for(["runc", "crun"])("%s has one, whole and not to be written to", async (runtime, { skip }) => {
  const path = findProgram(runtime);
  if (path === undefined || !readFileSync(path).includes("_cloned:/proc/self/exe"))
    skip(`there is no ${runtime} that copies itself (runc since 1.2 does it in another way)`);
  const { descriptor } = await copies.of(runtime);
  expect(isCopyOf(descriptor, path!)).toBe(true);
  expect(() => writeFileSync(`/proc/self/fd/${descriptor}`, "x")).toThrow("EPERM");
  expect(execFileSync(`/proc/self/fd/${descriptor}`, ["--version"]).toString()).toContain(`${runtime} version`);
  expect(await copies.of(runtime)).toMatchObject({ descriptor });
  expect(openCopies()).toHaveLength(1);
});

test("many that ask at once get the same", async () => {
  const path = install("r");
  const all = await Promise.all(Array.from({ length: 20 }, () => copies.of(path)));
  expect(new Set(all.map(({ descriptor }) => descriptor)).size).toBe(1);
  expect(openCopies()).toHaveLength(1);
});

test("a new program at its place has its own, and the old one is gone", async () => {
  const path = install("r", "true");
  const before = await copies.of(path);
  expect(before.descriptor).toBeDefined();
  rmSync(path);
  install("r", "false");
  const after = await copies.of(path);
  expect(before.descriptor).toBeUndefined();
  expect(isCopyOf(after.descriptor, path)).toBe(true);
  // Written over in place.
  install("r", "true");
  expect(isCopyOf((await copies.of(path)).descriptor, path)).toBe(true);
  expect(openCopies()).toHaveLength(1);
});

test("none of a script, of a program that does not copy itself, of nothing, of a directory", async () => {
  const script = join(directory, "script");
  writeFileSync(script, "#!/bin/sh\n# _cloned:/proc/self/exe\n", { mode: 0o755 });
  const empty = join(directory, "empty");
  writeFileSync(empty, "", { mode: 0o755 });
  const plain = join(directory, "plain");
  copyFileSync("/bin/true", plain);
  for (const runtime of [script, empty, plain, join(directory, "missing"), directory, "no-such-runtime"])
    expect(await copies.of(runtime)).toMatchObject({ descriptor: undefined });
});

test("not more than four at a time: the one that was not used for longest goes", async () => {
  const used = install("r0");
  const first = await copies.of(used);
  const second = await copies.of(install("r1"));
  const others = await Promise.all([2, 3].map((n) => copies.of(install(`r${n}`))));
  expect(await copies.of(used)).toBe(first);
  const last = await copies.of(install("r4"));
  expect(second!.descriptor).toBeUndefined();
  for (const copy of [first, ...others, last]) expect(copy.descriptor).toBeDefined();
});

test("one that is made while all are closed is closed too", async () => {
  const copy = copies.of(install("r"));
  copies.close();
  expect(await copy).toMatchObject({ descriptor: undefined });
});
