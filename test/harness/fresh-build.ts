import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { repository } from "./paths.js";

/** Brings dist/ up to date with the sources, or, for what runs no program, the generated types only. Throws when that fails. */
export function freshBuild(what: "programs" | "wire types"): void {
  const args = ["--if-stale", ...(what === "wire types" ? ["--proto-only"] : [])];
  const { status, error } = spawnSync(process.execPath, [join(repository, "scripts/build.mjs"), ...args], {
    stdio: "inherit",
  });
  if (error || status !== 0)
    throw new Error(`there is nothing to test: the build failed (${error?.message ?? "above"})`);
}
