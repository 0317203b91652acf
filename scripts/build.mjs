// Builds dist/: `node scripts/build.mjs` everything, `--if-stale` what has changed sources, `--proto-only` the generated wire types
// alone. The build itself is TypeScript, in build/.
import { rmSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { bundleProgram } from "./run-typescript.mjs";

const program = await bundleProgram("build/main.ts");
try {
  await import(pathToFileURL(program).href);
} finally {
  rmSync(program, { force: true });
}
