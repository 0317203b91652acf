import { bundle, EXTERNAL } from "./bundle.js";
import type { Product } from "./product.js";
import { commit } from "./version.js";

const OUTFILE = "dist/bin/containerd.js";
const LAYER_WORKER_OUTFILE = "dist/bin/layer-worker.js";
const FILE_WORKER_OUTFILE = "dist/bin/file-worker.js";

const banner = [
  "#!/bin/sh",
  // A command to the shell, a string to Node, which takes these flags of V8 only here. With the default of 16 MB for the young generation
  // the daemon keeps 20 MB of garbage after a burst of starts, with 2 MB 30 of what a pull has read. The memory reducer's timer wakes an
  // idle daemon every 8 s. glibc gives each thread a heap of its own, and keeps the buffers of a pull there: two heaps for all, and what is
  // as large as a buffer of Node's goes back to the kernel when it is free.
  `':' //; export UV_THREADPOOL_SIZE=\${UV_THREADPOOL_SIZE:-12} MALLOC_ARENA_MAX=\${MALLOC_ARENA_MAX:-2}`,
  `':' //; export MALLOC_MMAP_THRESHOLD_=\${MALLOC_MMAP_THRESHOLD_:-65536}`,
  `':' //; exec node --max-semi-space-size=1 --no-memory-reducer "$0" "$@"`,
  // grpc-js is CommonJS inside; its require() must come from somewhere.
  "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
].join("\n");

export const daemon: Product = {
  name: "daemon",
  outputs: [OUTFILE],
  variant: commit,
  // Node keeps the text of a program: without its blanks the daemon is 4 MB smaller.
  build: () =>
    bundle(
      "src/daemon/main.ts",
      OUTFILE,
      { external: EXTERNAL, banner: { js: banner }, minifyWhitespace: true },
      0o755,
    ),
};

// The daemon gives the threads this text, with its path (see src/core/scheduling/worker-program.ts): a text has no place of its own from
// which packages could be found.
const workerBanner = 'require = require("node:module").createRequire(require("node:worker_threads").workerData);';

/** A program of the daemon's worker threads, which it finds beside its own. Tests that run the sources use it, too. */
function worker(name: string, source: string, outfile: string): Product {
  return {
    name,
    outputs: [outfile],
    build: () =>
      bundle(source, outfile, {
        ...{ format: "cjs", external: EXTERNAL, banner: { js: workerBanner }, minifyWhitespace: true },
      }),
  };
}

export const layerWorker = worker("layer worker", "src/core/layers/worker/main.ts", LAYER_WORKER_OUTFILE);
export const fileWorker = worker("file worker", "src/core/engine/files/worker/main.ts", FILE_WORKER_OUTFILE);
