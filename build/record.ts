/** What each product was built from, in dist/.built. Contents, not times: a change of branch and back makes nothing stale. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { filesBelow, replaceFile } from "./files.js";
import type { Product } from "./product.js";

const FILE = "dist/.built";

interface Entry {
  /** What the product was made from that is no source of its own. */
  variant: string;
  /** The hash of each source. */
  sources: Record<string, string>;
}

/** Of the content; empty when there is no such file. */
function hash(path: string): string {
  return existsSync(path) ? createHash("sha1").update(readFileSync(path)).digest("hex") : "";
}

const MANIFESTS = ["package.json", "packages/client/package.json", "packages/containerd/package.json"];

/** The build itself, and the packages that it builds with or puts into bundles, are in every product. */
function variantOf(product: Product): string {
  const shared = [...MANIFESTS, "package-lock.json", ...filesBelow("build")].map(hash).join("");
  return `${createHash("sha1").update(shared).digest("hex")} ${product.variant?.() ?? ""}`;
}

function readRecord(): Record<string, Entry> {
  try {
    return JSON.parse(readFileSync(FILE, "utf8"));
  } catch {
    // Nothing was built yet: everything is stale.
    return {};
  }
}

function writeEntry(name: string, entry: Entry | undefined): void {
  replaceFile(FILE, JSON.stringify({ ...readRecord(), [name]: entry }, null, 1));
}

export function isStale(product: Product): boolean {
  const entry = readRecord()[product.name];
  return (
    entry === undefined ||
    entry.variant !== variantOf(product) ||
    Object.entries(entry.sources).some(([path, content]) => hash(path) !== content) ||
    !product.outputs.every((output) => existsSync(output))
  );
}

/** Builds a product and remembers from what. When that fails, it is stale until a build has succeeded. */
export async function buildAndRecord(product: Product): Promise<void> {
  const variant = variantOf(product);
  const started = Date.now();
  writeEntry(product.name, undefined);
  const paths = await product.build();
  // Nobody knows whether a source that was edited meanwhile was read before or after: the product stays stale.
  const content = (path: string) => (statSync(path).mtimeMs > started ? "edited during the build" : hash(path));
  writeEntry(product.name, { variant, sources: Object.fromEntries(paths.sort().map((path) => [path, content(path)])) });
}
