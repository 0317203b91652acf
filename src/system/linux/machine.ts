import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { withReserve } from "./reserved-descriptors.js";

/** What the host has. */
export interface Machine {
  cpus: number;
  /** MiB */
  memory: number;
}

let known: Machine | undefined;

export function machine(): Machine {
  known ??= { cpus: availableParallelism(), memory: Math.floor(memoryTotal() / 1024) };
  return known;
}

/** In KiB. */
function memoryTotal(): number {
  const text = withReserve(() => readFileSync("/proc/meminfo", "utf8"));
  return Number(/^MemTotal:\s+(\d+) kB/m.exec(text)?.[1] ?? 0);
}
