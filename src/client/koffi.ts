import { createRequire } from "node:module";

/** Calls C functions; undefined where it is not to be had: in a bundle, say, that has no node_modules. It takes 8 ms. */
export function loadKoffi(): typeof import("koffi") | undefined {
  try {
    return createRequire(import.meta.url)("koffi");
  } catch {
    return undefined;
  }
}
