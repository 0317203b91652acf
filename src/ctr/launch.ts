/** Runs ctr with the code that V8 compiled when it was built: loading it is a third of what a short command takes. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Script } from "node:vm";

const filename = join(__dirname, "ctr.bundle.cjs");
const cacheName = join(__dirname, "ctr.cache");

const script = new Script(`(function (require, module, exports, __filename) {${readFileSync(filename, "utf8")}\n})`, {
  filename,
  // Another version of V8 than the build's refuses it, and compiles.
  cachedData: readCache(),
});
script.runInThisContext()(require, module, exports, filename);

/** What the build calls when it has run a command: all that this needed is compiled by then. */
export const makeCache = () => script.createCachedData();

function readCache(): Buffer | undefined {
  try {
    return readFileSync(cacheName);
  } catch {
    return undefined;
  }
}
