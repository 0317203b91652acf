import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { bundle, EXTERNAL } from "./bundle.js";
import type { Product } from "./product.js";

const PROGRAM = "dist/bin/ctr.cjs";
const CODE = "dist/bin/ctr.bundle.cjs";
const CACHE = "dist/bin/ctr.cache";

/**
 * A shell, and Node behind it, each take it for their own. Without the dashes Node (20 and 22) takes `--env-file` for its own wherever it
 * stands: it would set the variables of a container, NODE_OPTIONS too, for ctr itself. Not every env(1) can hand on more than one word.
 */
const BANNER = `#!/bin/sh
":" //; exec node -- "$0" "$@"`;

export const ctr: Product = {
  name: "ctr",
  outputs: [PROGRAM, CODE, CACHE],
  // Compiled code is of one version of V8.
  variant: () => process.version,
  async build() {
    // V8 compares no more than the length of the text with that of the cache.
    rmSync(CACHE, { force: true });
    const sources = await Promise.all([
      bundle("src/ctr/launch.ts", PROGRAM, { format: "cjs", banner: { js: BANNER } }, 0o755),
      // ctr is loaded anew at each command: less text saves it 5 ms, and CommonJS can be compiled ahead.
      bundle("src/ctr/main.ts", CODE, {
        format: "cjs",
        minifyWhitespace: true,
        minifySyntax: true,
        external: EXTERNAL,
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
    const { makeCache } = require("./${PROGRAM}");
    const { renameSync, writeFileSync } = require("node:fs");
    process.on("exit", () => {
      writeFileSync("${CACHE}.next", makeCache());
      renameSync("${CACHE}.next", "${CACHE}");
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
