/** Builds what scripts/build.mjs was asked for, each product by itself, side by side. */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { client, clientTypes } from "./client.js";
import { ctr } from "./ctr.js";
import { daemon, fileWorker, layerWorker } from "./daemon.js";
import { netd, shim } from "./lua-programs.js";
import { manPages } from "./man-pages.js";
import { packages } from "./packages.js";
import type { Product } from "./product.js";
import { buildAndRecord, isStale } from "./record.js";
import { wireTypes } from "./wire-types.js";

// Two folders below the repository: scripts/run-typescript.mjs puts this program there.
process.chdir(fileURLToPath(new URL("../..", import.meta.url)));

const args = process.argv.slice(2);
const flag = (name: string) => args.includes(name);
const wanted = (product: Product) => (flag("--if-stale") ? isStale(product) : true);

/** Each stage is built from the one before. */
const stages = flag("--proto-only")
  ? [[layerWorker, fileWorker]]
  : [[daemon, layerWorker, fileWorker, ctr, client, clientTypes, shim, netd, manPages], packages];
if ([wireTypes, ...stages.flat()].some(wanted)) {
  if (flag("--locked")) await build();
  else process.exitCode = buildAlone();
}

/** Two builds at a time would write the same files: this one again, when no other is under way. */
function buildAlone(): number {
  mkdirSync("dist", { recursive: true });
  const again = [process.execPath, "scripts/build.mjs", ...args, "--locked"];
  const { status, error } = spawnSync("flock", ["dist/.lock", ...again], { stdio: "inherit" });
  if (error) throw error;
  return status ?? 1;
}

async function build(): Promise<void> {
  for (const folder of ["bin", "client", "man", "netd", "run", "shim"])
    mkdirSync(`dist/${folder}`, { recursive: true });
  // Its output is a source of the others. It is never built without need: programs that are at work read it.
  if (isStale(wireTypes)) await buildAndRecord(wireTypes);
  for (const stage of stages) {
    const errors = await buildStage(stage);
    for (const message of errors) console.error(`build: ${message}`);
    if (errors.length > 0) {
      process.exitCode = 1;
      return;
    }
  }
}

/** Builds products side by side; resolves with what went wrong. */
async function buildStage(products: readonly Product[]): Promise<string[]> {
  const results = await Promise.allSettled(
    products.filter(wanted).map(async (product) => {
      await buildAndRecord(product).catch((error) => {
        throw new Error(`the ${product.name}: ${error.message}`);
      });
    }),
  );
  return results.flatMap((result) => (result.status === "rejected" ? [result.reason.message] : []));
}
