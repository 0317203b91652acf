import { rmSync } from "node:fs";
import { createRequire } from "node:module";
import { relative, resolve } from "node:path";
import { bundle } from "./bundle.js";
import { filesBelow, replaceFile, withoutPackages } from "./files.js";
import type { Product } from "./product.js";
import { runTool } from "./run-tool.js";

/**
 * CommonJS, which `import` and `require` both take: a program that loads it both ways has one copy of its classes, so `instanceof` holds.
 * For `import` Node reads a CommonJS file through for its names, 40 ms in one as long as the library: a short one beside it has them.
 */
const LIBRARY = "dist/client/library.cjs";
const NAMES = "dist/client/index.cjs";

/** What its package has of it beside the types that the compiler writes. */
export const clientFiles: readonly string[] = [LIBRARY, NAMES];

export const client: Product = {
  name: "client library",
  outputs: clientFiles,
  async build() {
    const sources = await bundle("src/client/index.ts", LIBRARY, {
      packages: "external",
      format: "cjs",
      // Another bundler may make a module of it, which has no __filename: then the program's own file stands for it.
      banner: { js: `const MODULE_FILE = typeof __filename === "string" ? __filename : process.argv[1];` },
      define: { "import.meta.url": "MODULE_FILE" },
    });
    const file = resolve(LIBRARY);
    const require = createRequire(file);
    delete require.cache[file];
    const names = Object.keys(require(file)).sort();
    const namesForImport = `0 && (module.exports = { ${names.join(", ")} });`;
    replaceFile(NAMES, `const library = require("./library.cjs");\nmodule.exports = library;\n${namesForImport}\n`);
    return sources;
  },
};

export const clientTypes: Product = {
  name: "client library's types",
  outputs: ["dist/client/index.d.ts"],
  async build() {
    const listed = await runTool("tsc", ["-p", "tsconfig.client.json", "--listFiles"]).catch((error: Error) => {
      // The hundreds of files that it lists after what is wrong would hide that.
      throw new Error(error.message.replace(/^\/.*\n?/gm, "").trimEnd());
    });
    const sources = listed
      .trim()
      .split("\n")
      .map((path) => relative(".", path));
    const own = withoutPackages(sources);
    const written = new Set(own.map((path) => path.replace(/^src\/(.*)\.ts$/, "dist/$1.d.ts")));
    // Of a source that has moved since.
    for (const file of declarations()) if (!written.has(file)) rmSync(file, { force: true });
    return [...own, "tsconfig.base.json", "tsconfig.client.json"];
  },
};

/** The client library's types: the compiler writes one file for each source. Tests have files of their own in dist/run. */
export function declarations(): string[] {
  return filesBelow("dist").filter((path) => path.endsWith(".d.ts") && !path.startsWith("dist/run/"));
}
