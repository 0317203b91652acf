import { rmSync } from "node:fs";
import { filesBelow } from "./files.js";
import type { Product } from "./product.js";
import { runTool } from "./run-tool.js";

/** Typed messages, which everything else is built with. */
export const wireTypes: Product = {
  name: "wire types",
  outputs: ["src/proto/containerd.ts"],
  async build() {
    rmSync("src/proto", { recursive: true, force: true });
    await runTool("buf", ["generate", "--include-imports"], "proto");
    return filesBelow("proto");
  },
};
