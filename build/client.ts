import { relative } from "node:path";
import { bundle } from "./bundle.js";
import { withoutPackages } from "./files.js";
import type { Product } from "./product.js";
import { runTool } from "./run-tool.js";

const outfile = "dist/client/index.js";

export const client: Product = {
  name: "client library",
  outputs: [outfile],
  build: () => bundle("src/client/index.ts", outfile, { packages: "external" }),
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
    return [...withoutPackages(sources), "tsconfig.base.json", "tsconfig.client.json"];
  },
};
