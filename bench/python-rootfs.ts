import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { join, relative } from "node:path";
import { makeRootfs } from "../test/harness/rootfs.js";

const ASK =
  "import os, sys, sysconfig; print(os.path.realpath(sys.executable)); print(sysconfig.get_paths()['stdlib'])";
/** Of the standard library: what programs don't use. */
const LEFT_OUT = ["test", "tests", "site-packages", "dist-packages", "config-*", "idlelib", "tkinter", "ensurepip"];

/** Makes a root file system with busybox and the machine's Python, each file where the machine has it; `python3` is on the usual path. */
export function makePythonRootfs(path: string): void {
  let answer: string;
  try {
    answer = execFileSync("python3", ["-c", ASK], { encoding: "utf8" });
  } catch (cause) {
    throw new Error("no python3 on this machine", { cause });
  }
  const [program = "", library = ""] = answer.trim().split("\n");
  makeRootfs(path);
  const modules = join(library, "lib-dynload");
  const compiled = existsSync(modules) ? readdirSync(modules).map((name) => join(modules, name)) : [];
  const needed = new Set([program, library, ...[program, ...compiled].flatMap(librariesOf)]);
  const names = [...needed].map((file) => relative("/", file));
  const archive = execFileSync(
    "tar",
    ["-C", "/", "--dereference", ...LEFT_OUT.map((name) => `--exclude=${library.slice(1)}/${name}`), "-c", ...names],
    { maxBuffer: 1 << 30 },
  );
  execFileSync("tar", ["-C", path, "-x"], { input: archive });
  mkdirSync(join(path, "usr/bin"), { recursive: true });
  if (!existsSync(join(path, "usr/bin/python3"))) symlinkSync(program, join(path, "usr/bin/python3"));
}

/** Paths of the shared libraries that a program or a library is linked with, the loader among them. */
function librariesOf(file: string): string[] {
  const text = execFileSync("ldd", [file], { encoding: "utf8" });
  return [...text.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm)].map(([, path]) => path!);
}
