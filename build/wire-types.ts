import { rmSync } from "node:fs";
import { filesBelow } from "./files.js";
import { keepAllMapKeys } from "./map-keys.js";
import type { Product } from "./product.js";
import { runTool } from "./run-tool.js";

/** Typed messages, which everything else is built with. */
export const wireTypes: Product = {
  name: "wire types",
  outputs: ["src/proto/containerd.ts"],
  async build() {
    rmSync("src/proto", { recursive: true, force: true });
    // 0.2's messages have their fields' names as they are; those of 1.x are written as TypeScript writes names.
    const v0 = ["containerd.proto", "health.proto"];
    await runTool("buf", ["generate", "--include-imports", ...v0.flatMap((path) => ["--path", path])], "proto");
    const v1 = ["--template", "buf.gen.v1.yaml", "--path", "containerd", "--path", "containerdts", "--path", "io"];
    await runTool("buf", ["generate", "--include-imports", ...v1], "proto");
    keepAllMapKeys("src/proto");
    return filesBelow("proto");
  },
};
