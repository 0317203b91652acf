import { Failure } from "../failure/failure.js";

export type Labels = Record<string, string>;

/** In bytes, of key and value together. */
const MAX_SIZE = 4096;
/** Of a key that is too long, in an error. */
const SHOWN = 64;

/** @throws Failure (invalid-argument) for a label that is too long */
export function checkLabels(labels: Labels): void {
  for (const [key, value] of Object.entries(labels)) {
    const size = Buffer.byteLength(key) + Buffer.byteLength(value);
    if (size <= MAX_SIZE) continue;
    const why = `label key and value length (${size} bytes) greater than maximum size (${MAX_SIZE} bytes), key: ${key.slice(0, SHOWN)}`;
    throw new Failure("invalid-argument", "refused", { why });
  }
}

/** What is kept of labels: an empty value takes a label away. */
export function presentLabels(labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ""));
}
