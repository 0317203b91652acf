import { createRequire } from "node:module";

/** Calls C functions; undefined where it is not to be had: in a bundle, say, which a program brings without its node_modules. Takes 8 ms. */
export function loadKoffi(): typeof import("koffi") | undefined {
  try {
    return createRequire(import.meta.url)("koffi");
  } catch {
    return undefined;
  }
}
