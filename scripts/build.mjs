// Builds everything into dist/: the wire types (buf + ts-proto), the two Node programs and the client library
// (esbuild, one file each: that is what keeps their start fast), the client's declarations (tsc) and the shim
// (TypeScriptToLua, one Lua file). With --if-stale it does nothing while no source is newer than the last build.
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
process.chdir(root);
const stamp = "dist/.built";
const bin = (name) => join(root, "node_modules/.bin", name);

/** The newest modification time, in ms, below the given files and folders. */
function newest(paths) {
  let time = 0;
  for (const path of paths) {
    const info = statSync(path, { throwIfNoEntry: false });
    if (!info) continue;
    time = Math.max(
      time,
      info.isDirectory() ? newest(readdirSync(path).map((name) => join(path, name))) : info.mtimeMs,
    );
  }
  return time;
}

const sources = ["src", "proto", "package-lock.json", "scripts/build.mjs", "tsconfig.json", "tsconfig.client.json"];
const built = statSync(stamp, { throwIfNoEntry: false })?.mtimeMs ?? 0;
if (process.argv.includes("--if-stale") && newest(sources) < built) process.exit(0);

const generated = "src/proto/containerd.ts";
if (newest(["proto", "package-lock.json"]) > newest([generated])) {
  rmSync("src/proto", { recursive: true, force: true });
  execFileSync(bin("buf"), ["generate", "--include-imports"], { cwd: "proto", stdio: "inherit" });
}
if (process.argv.includes("--proto-only")) process.exit(0);

// After the generated types, so that what they import is there.
const { build } = await import("esbuild");
rmSync(stamp, { force: true });
mkdirSync("dist/bin", { recursive: true });
const version = JSON.parse(readFileSync("package.json", "utf8")).version;
const shared = {
  bundle: true,
  platform: "node",
  target: "node20",
  format: "esm",
  legalComments: "none",
  define: { CONTAINERD_TS_VERSION: JSON.stringify(version) },
};
// grpc-js is CommonJS inside; in an ESM bundle its require() must come from somewhere.
const banner = {
  js: "#!/usr/bin/env node\nimport { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
};
const programs = { containerd: "src/daemon/main.ts", ctr: "src/ctr/main.ts" };
await Promise.all([
  ...Object.entries(programs).map(([name, entry]) =>
    build({ ...shared, entryPoints: [entry], outfile: `dist/bin/${name}.js`, external: ["koffi"], banner }),
  ),
  build({ ...shared, entryPoints: ["src/client/index.ts"], outfile: "dist/client/index.js", packages: "external" }),
]);
for (const name of Object.keys(programs)) chmodSync(`dist/bin/${name}.js`, 0o755);

execFileSync(bin("tsc"), ["-p", "tsconfig.client.json"], { stdio: "inherit" });

execFileSync(bin("tstl"), ["-p", "src/shim/tsconfig.json"], { stdio: "inherit" });
writeFileSync("dist/bin/containerd-shim", `#!/usr/bin/env luajit\n${readFileSync("dist/shim/main.lua", "utf8")}`, {
  mode: 0o755,
});

writeFileSync(stamp, "");
