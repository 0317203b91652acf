import { refusal } from "../failure/failure.js";

export type Labels = Record<string, string>;

/** In bytes, of key and value together. */
const MAX_SIZE = 4096;
/** In characters: how much of a key that is too long is shown. */
const SHOWN = 10;

/** The decoder of what is stored gives this key another name, since in JavaScript it names an object's prototype. */
const UNKEPT = "__proto__";

/** @throws Failure (invalid-argument) for a map with a key that the store can't keep */
export function checkKeys(map: object, whose: string): void {
  if (Object.hasOwn(map, UNKEPT)) throw refusal(`${whose}the key "${UNKEPT}" can't be kept`);
}

/**
 * @param whose begins the error's text
 * @throws Failure (invalid-argument) for a label that is too long, or has a key that the store can't keep
 */
export function checkLabels(labels: Labels, whose: string): void {
  checkKeys(labels, whose);
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
