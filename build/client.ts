import { rmSync } from "node:fs";
import { relative } from "node:path";
import { bundle } from "./bundle.js";
import { filesBelow, withoutPackages } from "./files.js";
import type { Product } from "./product.js";
import { runTool } from "./run-tool.js";

const OUTFILE = "dist/client/index.js";

export const client: Product = {
  name: "client library",
  outputs: [OUTFILE],
  build: () => bundle("src/client/index.ts", OUTFILE, { packages: "external" }),
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
