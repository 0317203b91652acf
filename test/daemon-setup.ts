/**
 * Once for a run of the tests with daemons: fresh programs, the root file system that all containers share; at the end, what tests have
 * left behind.
 */
import { readdirSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { freshBuild } from "./harness/fresh-build.js";
import { describe, findLeftovers, removeLeftovers } from "./harness/leftovers.js";
import { removeSharedRootfs, sharedRootfs } from "./harness/rootfs.js";
import { directoryPrefix } from "./harness/run-name.js";

export function setup(): void {
  freshBuild("programs");
  const prefix = directoryPrefix();
  if (process.getuid?.() === 0) sharedRootfs();
  else console.error(`only root can run containers: most tests will fail (${prefix})`);
}

export async function teardown(): Promise<void> {
  const prefix = directoryPrefix();
  const forgotten: string[] = [];
  for (const name of readdirSync(dirname(prefix))) {
    if (!name.startsWith(basename(prefix))) continue;
    const dir = join(dirname(prefix), name);
    const territory = { dir, stateDir: join(dir, "state") };
    forgotten.push(`directory: ${dir}`, ...describe(findLeftovers(territory)));
    await removeLeftovers(territory);
    rmSync(dir, { recursive: true, force: true });
  }
  removeSharedRootfs();
  if (forgotten.length > 0) {
    console.error(`tests have left behind:\n  ${forgotten.join("\n  ")}`);
    // An error thrown here would be shown, and vitest would end with 0.
    process.exitCode = 1;
  }
}
