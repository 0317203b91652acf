/**
 * What npm packs: a folder of packages/ for each package, into which everything is put that it publishes beside the files that it has
 * there. A file has the same path in the package as here. node_modules links to these folders, so tests and examples import what a user
 * gets.
 */
import { existsSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { clientFiles, declarations } from "./client.js";
import { filesBelow, replaceFile } from "./files.js";
import type { Product } from "./product.js";

const ALWAYS_PACKED = ["CHANGELOG.md", "LICENSE"];

export const packages: readonly Product[] = [
  npmPackage("client", () => [
    ...ALWAYS_PACKED,
    "docs/client.md",
    "docs/client-v0.md",
    "docs/untrusted-code.md",
    ...filesBelow("examples"),
    ...clientFiles,
    ...declarations(),
  ]),
  npmPackage("containerd", () => [
    ...ALWAYS_PACKED,
    "README.md",
    // Without docs/api, the generated reference.
    ...filesBelow("docs").filter((path) => dirname(path) === "docs"),
    ...filesBelow("examples"),
    ...filesBelow("packaging/systemd"),
    ...filesBelow("proto"),
    ...filesBelow("dist/bin"),
    ...filesBelow("dist/man"),
  ]),
];

function npmPackage(name: string, content: () => string[]): Product {
  const folder = join("packages", name);
  return {
    name: `package in ${folder}`,
    get outputs() {
      return content().map((path) => join(folder, path));
    },
    async build() {
      const paths = content();
      for (const path of paths) put(path, join(folder, path));
      removeOthers(folder, paths);
      return paths;
    },
  };
}

/** What is there already stays, for whoever reads it just now. */
function put(source: string, target: string): void {
  const content = readFileSync(source);
  const mode = statSync(source).mode & 0o777;
  if (existsSync(target) && (statSync(target).mode & 0o777) === mode && readFileSync(target).equals(content)) return;
  mkdirSync(dirname(target), { recursive: true });
  replaceFile(target, content, mode);
}

/** Removes what an earlier build has put there, and this one has not. */
function removeOthers(folder: string, paths: readonly string[]): void {
  const kept = new Set(paths.map((path) => join(folder, path)));
  const tops = new Set(paths.filter((path) => path.includes("/")).map((path) => path.slice(0, path.indexOf("/"))));
  for (const top of tops)
    for (const file of filesBelow(join(folder, top))) if (!kept.has(file)) rmSync(file, { force: true });
}
