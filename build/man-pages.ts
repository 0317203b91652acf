import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { promisify } from "node:util";
import { bundle } from "./bundle.js";
import { filesBelow } from "./files.js";
import type { Product } from "./product.js";

/** The man pages tell what the programs themselves say of their options: the program that writes them holds them both. */
export const manPages: Product = {
  name: "man pages",
  outputs: ["containerd.8", "containerd-shim.8", "ctr.1"].map((page) => `dist/man/${page}`),
  async build() {
    const program = `dist/run/man-pages-${process.pid}.mjs`;
    try {
      const sources = await bundle("packaging/man/generate.ts", program, { packages: "external" });
      await promisify(execFile)(process.execPath, [program]);
      return [...new Set([...sources, ...filesBelow("packaging/man")])];
    } finally {
      rmSync(program, { force: true });
    }
  },
};
