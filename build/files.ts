import { readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Every file below a folder, sorted. */
export function filesBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** Without the files of packages: package-lock.json stands for them. */
export function withoutPackages(paths: readonly string[]): string[] {
  return paths.filter((path) => !/(^|\/)node_modules\//.test(path));
}

/** Whoever starts a program while it is built again gets the old file or the new one, never a part. */
export function replaceFile(path: string, content: string | Uint8Array, mode = 0o644): void {
  const next = `${path}.next`;
  writeFileSync(next, content, { mode });
  renameSync(next, path);
}
