/** Who may do what with the files of a test. */
import { spawnSync } from "node:child_process";
import { lstatSync, readdirSync, type Stats } from "node:fs";
import { join, relative } from "node:path";
import { PATIENCE } from "./wait.js";

/** Somebody who is nobody in particular. */
export const nobody = 65534;

/**
 * Every path below a directory, and the directory itself as ".": its type as `ls` shows it, and its mode: "d700", "p600", "-600", "s660".
 */
export function modes(root: string): Record<string, string> {
  const found: Record<string, string> = {};
  const walk = (path: string): void => {
    const info = lstatSync(path, { throwIfNoEntry: false });
    // Of a container that has just ended.
    if (info === undefined) return;
    found[relative(root, path) || "."] = `${type(info)}${(info.mode & 0o7777).toString(8)}`;
    if (info.isDirectory()) for (const name of readdirSync(path)) walk(join(path, name));
  };
  walk(root);
  return found;
}

function type(info: Stats): string {
  if (info.isDirectory()) return "d";
  if (info.isFIFO()) return "p";
  if (info.isSocket()) return "s";
  return info.isSymbolicLink() ? "l" : "-";
}

/** Runs a shell command as nobody, a member of this group only; its output, and whether it succeeded. */
export function asNobody(command: string, ...args: string[]): { succeeded: boolean; output: string } {
  const { status, stdout, stderr } = spawnSync(
    "setpriv",
    [`--reuid=${nobody}`, `--regid=${nobody}`, "--clear-groups", "sh", "-c", command, "sh", ...args],
    { encoding: "utf8", timeout: PATIENCE },
  );
  return { succeeded: status === 0, output: `${stdout}${stderr}` };
}
