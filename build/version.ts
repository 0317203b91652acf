/** What the programs say of themselves. */
import { spawnSync } from "node:child_process";
import { readFileSync, realpathSync } from "node:fs";

/** Of both packages, and of the programs. */
export function version(): string {
  return JSON.parse(readFileSync("packages/containerd/package.json", "utf8")).version;
}

let known: string | undefined;

/** The commit that is checked out; empty where there is no git, or where these files lie within a repository of something else. */
export function commit(): string {
  known ??= checkedOut();
  return known;
}

function checkedOut(): string {
  const { status, stdout } = spawnSync("git", ["rev-parse", "--show-toplevel", "HEAD"], { encoding: "utf8" });
  const [top, head] = status === 0 ? stdout.trim().split("\n") : [];
  return top === realpathSync(".") ? head! : "";
}
