import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { filesBelow, replaceFile } from "./files.js";
import type { Product } from "./product.js";
import { runTool } from "./run-tool.js";

/** A program for LuaJIT, made of TypeScript: `dist/bin/containerd-NAME` of `src/NAME`. */
function luaProgram(name: string, others: () => string[]): Product {
  const outfile = `dist/bin/containerd-${name}`;
  return {
    name,
    outputs: [outfile],
    async build() {
      await runTool("tstl", ["-p", `src/${name}/tsconfig.json`]);
      writeProgram(`dist/${name}/main`, outfile);
      return [...filesBelow(`src/${name}`), ...filesBelow(`src/contract/${name}`), ...others()];
    },
  };
}

export const shim = luaProgram("shim", () => []);
export const netd = luaProgram("netd", () => [...filesBelow("src/shim/syscalls"), "src/shim/loop.ts"]);

/**
 * One file that runs by itself: a few lines that load the program, then, in a comment, the program twice: as bytecode for the LuaJIT that
 * is here now, because loading that takes 80 kB less memory, for the life of every container, than parsing the source; and as source for
 * any other.
 */
function writeProgram(made: string, outfile: string): void {
  const source = `${made}.lua`;
  const bytecode = `${made}.luac`;
  const sections = [readFileSync(source)];
  let version = "";
  try {
    version = execFileSync("luajit", ["-e", "io.write(jit.version, ' ', jit.arch)"], { encoding: "utf8" });
    execFileSync("luajit", ["-bs", source, bytecode]);
    sections.unshift(readFileSync(bytecode));
  } catch {
    console.warn(`no luajit here: ${outfile} is built without bytecode`);
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
-- Mostly asleep: it needs no compiled code, and must not let garbage pile up.
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
  end, "=${basename(outfile)}")
  file:close()
  return section
end
local program = ${fromBytecode}assert(${load(sections.length - 1)})
collectgarbage()
local main = program().main
program, load_section = nil, nil
collectgarbage()
main()
--[=========[
`;
  };
  const start = loader(0).length;
  const program = Buffer.concat([Buffer.from(loader(start)), ...sections, Buffer.from("\n]=========]\n")]);
  replaceFile(outfile, program, 0o755);
}
