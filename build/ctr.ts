import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { bundle, external } from "./bundle.js";
import type { Product } from "./product.js";

const program = "dist/bin/ctr.cjs";
const code = "dist/bin/ctr.bundle.cjs";
const cache = "dist/bin/ctr.cache";

export const ctr: Product = {
  name: "ctr",
  outputs: [program, code, cache],
  // Compiled code is of one version of V8.
  variant: () => process.version,
  async build() {
    // V8 compares no more than the length of the text with that of the cache.
    rmSync(cache, { force: true });
    const sources = await Promise.all([
      bundle("src/ctr/launch.ts", program, { format: "cjs", banner: { js: "#!/usr/bin/env node" } }, 0o755),
      // ctr is loaded anew at each command: less text saves it 5 ms, and CommonJS can be compiled ahead.
      bundle("src/ctr/main.ts", code, {
        format: "cjs",
        minifyWhitespace: true,
        minifySyntax: true,
        external,
        define: { "import.meta.url": "__filename" },
      }),
    ]);
    await compile();
    return sources.flat();
  },
};

/** Runs `ctr version` against a server that knows nothing else and keeps what V8 compiled for it. */
async function compile(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "ctr-"));
  const socket = join(directory, "s");
  const server = createServer().on("stream", (stream) => {
    stream.respond({ "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(Buffer.alloc(5));
  });
  const keep = `
    const { makeCache } = require("./${program}");
    const { renameSync, writeFileSync } = require("node:fs");
    process.on("exit", () => {
      writeFileSync("${cache}.next", makeCache());
      renameSync("${cache}.next", "${cache}");
    });`;
  try {
    await once(server.listen(socket), "listening");
    // The server is of this process, which has other products to build.
    const args = ["--address", `unix://${socket}`, "--conn-timeout", "5m", "version"];
    await promisify(execFile)(process.execPath, ["-e", keep, "ctr", ...args]);
  } finally {
    server.close();
    rmSync(directory, { recursive: true });
  }
}
