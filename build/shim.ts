import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { filesBelow, replaceFile } from "./files.js";
import type { Product } from "./product.js";
import { runTool } from "./run-tool.js";

const OUTFILE = "dist/bin/containerd-shim";
const SOURCE = "dist/shim/main.lua";
const BYTECODE = "dist/shim/main.luac";

export const shim: Product = {
  name: "shim",
  outputs: [OUTFILE],
  async build() {
    await runTool("tstl", ["-p", "src/shim/tsconfig.json"]);
    writeProgram();
    return [...filesBelow("src/shim"), ...filesBelow("src/contract/shim")];
  },
};

/**
 * One file that runs by itself: a few lines that load the shim, then, in a comment, the shim twice: as bytecode for the LuaJIT that is here
 * now, because loading that takes 80 kB less memory, for the life of every container, than parsing the source; and as source for any other.
 */
function writeProgram(): void {
  const sections = [readFileSync(SOURCE)];
  let version = "";
  try {
    version = execFileSync("luajit", ["-e", "io.write(jit.version, ' ', jit.arch)"], { encoding: "utf8" });
    execFileSync("luajit", ["-bs", SOURCE, BYTECODE]);
    sections.unshift(readFileSync(BYTECODE));
  } catch {
    console.warn("no luajit here: the shim is built without bytecode");
  }
  // Offsets have a fixed width, so that the lines that hold them know their own length.
  const loader = (start: number) => {
    const offsets = sections.map((_, index) =>
      sections.slice(0, index).reduce((offset, section) => offset + section.length, start),
    );
    const load = (index: number) => `load_section(${String(offsets[index]).padStart(6)}, ${sections[index]!.length})`;
    const fromBytecode =
      sections.length > 1 ? `jit.version .. " " .. jit.arch == ${JSON.stringify(version)} and ${load(0)} or ` : "";
    return `#!/usr/bin/env luajit
-- The shim is mostly asleep: it needs no compiled code, and must not let garbage pile up.
jit.off()
collectgarbage("setpause", 110)
local function load_section(start, length)
  local file = assert(io.open(arg[0], "rb"))
  file:seek("set", start)
  -- Piece by piece: the whole in one string would leave memory that nothing fills again.
  local section = load(function()
    local piece = file:read(math.min(length, 4096))
    length = length - #piece
    return piece
  end, "=containerd-shim")
  file:close()
  return section
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
  replaceFile(OUTFILE, program, 0o755);
}
