import { refusal } from "../../failure/failure.js";
import type { LogConfig } from "../container-config.js";

const USUAL_SIZE = 10 << 20;
const USUAL_FILES = 2;
/** In bytes: what the shim writes at once is less. */
const SMALLEST = 65536;
const LARGEST = 1 << 30;
const MOST_FILES = 1000;

/** @throws Failure (invalid-argument) */
export function checkLog({ driver, maxSize, maxFiles }: LogConfig): void {
  if (driver === "none" && (maxSize !== 0 || maxFiles !== 0))
    throw refusal('log: max_size and max_files are of the driver "file"');
  if (maxSize !== 0 && !(Number.isSafeInteger(maxSize) && SMALLEST <= maxSize && maxSize <= LARGEST))
    throw refusal(`log max_size ${maxSize}: it is a number of bytes from ${SMALLEST} to ${LARGEST}`);
  if (!Number.isSafeInteger(maxFiles) || maxFiles < 0 || maxFiles > MOST_FILES)
    throw refusal(`log max_files ${maxFiles}: it is a number from 1 to ${MOST_FILES}`);
}

/** The size and number of a log's files; undefined for one that there is not to be. */
export function limitsOf(log: LogConfig | undefined): { maxSize: number; maxFiles: number } | undefined {
  if (log?.driver === "none") return undefined;
  return { maxSize: log?.maxSize || USUAL_SIZE, maxFiles: log?.maxFiles || USUAL_FILES };
}
