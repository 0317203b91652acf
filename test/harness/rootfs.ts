/** Root file systems that hold busybox and nothing else. */

import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, linkSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { findProgram } from "./paths.js";

const directories = ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "var"];

/** The machine's busybox. */
export function busybox(): string {
  const path = findProgram("busybox");
  if (!path) throw new Error("busybox is not installed: run scripts/setup --tests");
  return path;
}

let names: string[] | undefined;

/** The names under which it does something. */
export function applets(): string[] {
  names ??= execFileSync(busybox(), ["--list"], { encoding: "utf8" })
    .split("\n")
    .filter((name) => name && name !== "busybox");
  return names;
}

/** Fills an existing, empty directory with busybox and its applets. `source` is a busybox of the same file system to link. */
function fill(root: string, source?: string): void {
  for (const name of directories) mkdirSync(join(root, name));
  const program = join(root, "bin/busybox");
  if (source) linkSync(source, program);
  else copyFileSync(busybox(), program);
  for (const name of applets()) symlinkSync("busybox", join(root, "bin", name));
}

/** The variable in which test/daemon-setup.ts hands the shared root file system to the tests. */
const variable = "CONTAINERD_TS_TEST_ROOTFS";

/**
 * The root file system that all containers of a run share (read-only): made by the first caller, removed by
 * {@link removeSharedRootfs}.
 */
export function sharedRootfs(): string {
  const known = process.env[variable];
  if (known && existsSync(known)) return known;
  const root = join(mkdtempSync(join(tmpdir(), "ctd-rootfs-")), "rootfs");
  mkdirSync(root);
  fill(root);
  process.env[variable] = root;
  return root;
}

export function removeSharedRootfs(): void {
  const root = process.env[variable];
  if (root) rmSync(dirname(root), { recursive: true, force: true });
  delete process.env[variable];
}

/** Makes a root file system of its own at `path`, for a container that writes to it. busybox is a hard link. */
export function makeRootfs(path: string): void {
  const parts = `${path}.parts`;
  mkdirSync(parts, { recursive: true });
  fill(parts, join(sharedRootfs(), "bin/busybox"));
  renameSync(parts, path);
}
