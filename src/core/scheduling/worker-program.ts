import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Beside the daemon's own; where the sources themselves run, as tests do, and tools that were made of them: what the build has made. */
const PLACES = ["", "../bin/", "../../../dist/bin/"];

/** A program of worker threads. */
export interface WorkerProgram {
  /** CommonJS. */
  text: string;
  /** Where it was: packages that it needs are looked for from there. */
  path: string;
}

/** Threads for layers, and for the files of containers. */
export type WorkerName = "layer-worker" | "file-worker";

const held = new Map<WorkerName, WorkerProgram>();

/**
 * What worker threads run. The daemon asks at its start, so that it goes on with the program that it was made with when an upgrade replaces
 * or removes the file.
 * @throws when it can't be read: the next call tries again
 */
export function workerProgram(name: WorkerName): WorkerProgram {
  const known = held.get(name);
  if (known !== undefined) return known;
  const paths = PLACES.map((place) => fileURLToPath(new URL(`${place}${name}.js`, import.meta.url)));
  const path = paths.find((path) => existsSync(path)) ?? paths[0]!;
  const program = { text: readFileSync(path, "utf8"), path };
  held.set(name, program);
  return program;
}
