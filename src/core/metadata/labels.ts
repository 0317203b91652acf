import { refusal } from "../failure/failure.js";

export type Labels = Record<string, string>;

/** In bytes, of key and value together. */
const MAX_SIZE = 4096;
/** In characters: how much of a key that is too long is shown. */
const SHOWN = 10;

/**
 * @param whose begins the error's text
 * @throws Failure (invalid-argument) for a label that is too long
 */
export function checkLabels(labels: Labels, whose: string): void {
  for (const [key, value] of Object.entries(labels)) {
    if (Buffer.byteLength(key) + Buffer.byteLength(value) <= MAX_SIZE) continue;
    const why = `${whose}label key and value greater than maximum size (${MAX_SIZE} bytes), key: ${key.slice(0, SHOWN)}`;
    throw refusal(why);
  }
}

/** What is kept of labels: an empty value takes a label away. */
export function presentLabels(labels: Labels): Labels {
  return Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== ""));
}
