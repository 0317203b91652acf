import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Beside the daemon's own; where the sources themselves run, as tests do, and tools that were made of them: what the build has made. */
const PLACES = ["layer-worker.js", "../bin/layer-worker.js", "../../../../dist/bin/layer-worker.js"];

/** The file that worker threads run. */
export function workerProgram(): string {
  const paths = PLACES.map((place) => fileURLToPath(new URL(place, import.meta.url)));
  return paths.find((path) => existsSync(path)) ?? paths[0]!;
}
