// Bundles a TypeScript program of the build, the tests or the examples and runs it:
// `node scripts/run-typescript.mjs test/faults/main.ts [argument]…`. Node 20 does not run TypeScript by itself.
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, realpathSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));

/** Bundles `source`, a path in the repository, and returns the file to run. The caller removes it. */
export async function bundleProgram(source) {
  // Two folders below the root, as the sources of the tests are: they find their files from there. One file for each run, since several
  // may go on at the same time.
  const outfile = join(root, "dist/run", `${basename(dirname(source))}-${process.pid}.mjs`);
  mkdirSync(dirname(outfile), { recursive: true });
  const { version } = JSON.parse(readFileSync(join(root, "packages/containerd/package.json"), "utf8"));
  await build({
    entryPoints: [join(root, source)],
    outfile,
    bundle: true,
    platform: "node",
    target: "node20",
    format: "esm",
    packages: "external",
    sourcemap: "inline",
    define: { CONTAINERD_TS_VERSION: JSON.stringify(version), CONTAINERD_TS_COMMIT: '""' },
  });
  return outfile;
}

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const [source, ...args] = process.argv.slice(2);
  const outfile = await bundleProgram(source);
  const child = spawn(process.execPath, ["--enable-source-maps", outfile, ...args], { stdio: "inherit" });
  // The program ends itself, and cleans up before.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code) => {
    rmSync(outfile, { force: true });
    process.exit(code ?? 1);
  });
}
