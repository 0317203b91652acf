// Builds everything into dist/: the wire types (buf + ts-proto), the two Node programs and the client library
// (esbuild, one file each: that is what keeps their start fast; ctr's compiled ahead), the client's declarations (tsc) and the shim
// (TypeScriptToLua, one Lua file). With --if-stale it does nothing while no source is newer than the last build.
import { execFile, execFileSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

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
// koffi is native; grpc-js needs its proto-loader only for channelz, which nobody here serves.
const external = ["koffi", "@grpc/proto-loader"];
await Promise.all([
  build({
    ...shared,
    entryPoints: ["src/daemon/main.ts"],
    outfile: "dist/bin/containerd.js",
    external,
    banner: { js: daemonBanner() },
  }),
  // ctr is loaded anew at each command: less text saves it 5 ms, and CommonJS can be compiled ahead.
  build({
    ...shared,
    format: "cjs",
    minifyWhitespace: true,
    minifySyntax: true,
    entryPoints: ["src/ctr/main.ts"],
    outfile: "dist/bin/ctr.bundle.cjs",
    external,
    define: { ...shared.define, "import.meta.url": "__filename" },
  }),
  build({
    ...shared,
    format: "cjs",
    entryPoints: ["src/ctr/launch.ts"],
    outfile: "dist/bin/ctr.cjs",
    banner: { js: "#!/usr/bin/env node" },
  }),
  build({ ...shared, entryPoints: ["src/client/index.ts"], outfile: "dist/client/index.js", packages: "external" }),
]);
for (const name of ["containerd.js", "ctr.cjs"]) chmodSync(`dist/bin/${name}`, 0o755);
await compileCtr();

/** The first lines of the daemon: how it is run, and what its ESM bundle needs. */
function daemonBanner() {
  return [
    "#!/bin/sh",
    // A command to the shell, a string to Node, which takes the size of V8's young generation only here: with the default of 16 MB the daemon
    // keeps 20 MB of garbage after a burst of starts.
    `':' //; exec node --max-semi-space-size=2 "$0" "$@"`,
    // grpc-js is CommonJS inside; its require() must come from somewhere.
    "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
  ].join("\n");
}

/** Runs `ctr version` against a server that knows nothing else and keeps what V8 compiled for it. */
async function compileCtr() {
  const directory = mkdtempSync(join(tmpdir(), "ctr-"));
  const socket = join(directory, "s");
  const server = createServer().on("stream", (stream) => {
    stream.respond({ "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(Buffer.alloc(5));
  });
  const keep = `
    const { makeCache } = require("./dist/bin/ctr.cjs");
    process.on("exit", () => require("node:fs").writeFileSync("dist/bin/ctr.cache", makeCache()));`;
  rmSync("dist/bin/ctr.cache", { force: true });
  try {
    await once(server.listen(socket), "listening");
    await promisify(execFile)(process.execPath, ["-e", keep, "ctr", "--address", `unix://${socket}`, "version"]);
  } finally {
    server.close();
    rmSync(directory, { recursive: true });
  }
}

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
main()
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
