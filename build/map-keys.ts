import { readFileSync, writeFileSync } from "node:fs";
import { filesBelow } from "./files.js";

/** An entry that a generated decoder, or `fromPartial`, puts into a map. */
const ENTRY = /^(\s*)((?:message\.)?\w+)\[((?:entry\d+\.)?key)\] = (.+);$/gm;

/**
 * Has the generated code under `folder` keep every entry of a map: it makes them by assignment, where a key `__proto__` changes the
 * object's prototype and is lost.
 */
export function keepAllMapKeys(folder: string): void {
  for (const path of filesBelow(folder)) {
    const generated = readFileSync(path, "utf8");
    const kept = generated.replace(
      ENTRY,
      "$1globalThis.Object.defineProperty($2, $3, { value: $4, configurable: true, enumerable: true, writable: true });",
    );
    const assigned = /\[(?:entry\d+\.)?key\] = /.exec(kept);
    if (assigned) throw new Error(`${path}: an entry of a map that is made in another way: ${assigned[0]}`);
    if (kept !== generated) writeFileSync(path, kept);
  }
}
