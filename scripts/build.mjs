// Builds everything into dist/: the wire types (buf + ts-proto), the two Node programs and the client library
// (esbuild, one file each: that is what keeps their start fast), the client's declarations (tsc) and the shim
// (TypeScriptToLua, one Lua file). With --if-stale it does nothing while no source is newer than the last build.
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
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

const sources = [
  "src",
  "proto",
  "packaging",
  "package-lock.json",
  "scripts/build.mjs",
  "tsconfig.json",
  "tsconfig.client.json",
];
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
// koffi is native; grpc-js needs its proto-loader only for channelz, which nobody here serves.
const external = ["koffi", "@grpc/proto-loader"];
// ctr is parsed anew at each command: less text saves it 10 ms. The daemon's stack traces are worth more.
const minify = { ctr: { minifyWhitespace: true, minifySyntax: true } };
await Promise.all([
  ...Object.entries(programs).map(([name, entry]) =>
    build({ ...shared, ...minify[name], entryPoints: [entry], outfile: `dist/bin/${name}.js`, external, banner }),
  ),
  build({ ...shared, entryPoints: ["src/client/index.ts"], outfile: "dist/client/index.js", packages: "external" }),
]);
for (const name of Object.keys(programs)) chmodSync(`dist/bin/${name}.js`, 0o755);

execFileSync(bin("tsc"), ["-p", "tsconfig.client.json"], { stdio: "inherit" });

execFileSync(bin("tstl"), ["-p", "src/shim/tsconfig.json"], { stdio: "inherit" });
writeShim();

/**
 * One file that runs by itself: a few lines that load the shim, then, in a comment, the shim twice: as bytecode for the LuaJIT that is here
 * now, because loading that takes 80 kB less memory, for the life of every container, than parsing the source; and as source for any other.
 */
function writeShim() {
  const source = "dist/shim/main.lua";
  const bytecode = "dist/shim/main.luac";
  const sections = [readFileSync(source)];
  let version = "";
  try {
    version = execFileSync("luajit", ["-e", "io.write(jit.version, ' ', jit.arch)"], { encoding: "utf8" });
    execFileSync("luajit", ["-bs", source, bytecode]);
    sections.unshift(readFileSync(bytecode));
  } catch {
    console.warn("no luajit here: the shim is built without bytecode");
  }
  // Offsets have a fixed width, so that the lines that hold them know their own length.
  const loader = (start) => {
    const offsets = sections.map((_, index) =>
      sections.slice(0, index).reduce((offset, section) => offset + section.length, start),
    );
    const load = (index) => `load_section(${String(offsets[index]).padStart(6)}, ${sections[index].length})`;
    const fromBytecode =
      sections.length > 1 ? `jit.version .. " " .. jit.arch == ${JSON.stringify(version)} and ${load(0)} or ` : "";
    return `#!/usr/bin/env luajit
-- The shim is mostly asleep: it needs no compiled code, and must not let garbage pile up.
jit.off()
collectgarbage("setpause", 110)
local function load_section(start, length)
  local file = assert(io.open(arg[0], "rb"))
  file:seek("set", start)
  local text = file:read(length)
  file:close()
  return loadstring(text, "=containerd-shim")
end
local shim = ${fromBytecode}assert(${load(sections.length - 1)})
collectgarbage()
local main = shim().main
shim, load_section = nil, nil
collectgarbage()
os.exit(main())
--[=========[
`;
  };
  const start = loader(0).length;
  const program = Buffer.concat([Buffer.from(loader(start)), ...sections, Buffer.from("\n]=========]\n")]);
  // A shim that is running has its own copy open; one that is being started must see the old file or the new one.
  writeFileSync("dist/bin/.containerd-shim", program, { mode: 0o755 });
  renameSync("dist/bin/.containerd-shim", "dist/bin/containerd-shim");
}

// The man pages tell what the programs themselves say of their options.
execFileSync(process.execPath, ["scripts/run-typescript.mjs", "packaging/man/generate.ts"], { stdio: "inherit" });

writeFileSync(stamp, "");
