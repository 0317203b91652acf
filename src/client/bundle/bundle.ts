import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Checks, checkOptions, pathText } from "../options/option-checks.js";
import { removeFolder } from "./remove-folder.js";
import { type Spec, type SpecOptions, specChecks, specOf } from "./spec.js";

export interface BundleOptions extends SpecOptions {
  /** Where the bundle's folder is made; the daemon must see it at the same path. Default: the system's temporary folder. */
  bundleDir?: string | undefined;
}

export const bundleChecks: Checks<BundleOptions> = { ...specChecks, bundleDir: pathText };

const CONFIG_FILE = "config.json";

/** A folder with config.json, made by {@link createBundle}. The root file system stays where it is. */
export class Bundle implements AsyncDisposable {
  /** Absolute. */
  readonly path: string;
  readonly spec: Spec;

  constructor(path: string, spec: Spec) {
    this.path = path;
    this.spec = spec;
  }

  /** Removes the folder. A container must have ended before. */
  async remove(): Promise<void> {
    // There may be more in it: checkpoints.
    if (!removeFolder(this.path, [CONFIG_FILE])) await rm(this.path, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.remove();
  }
}

/**
 * Builds a bundle in a folder that only this user can read. `client.v0.containers.start` does it by itself for a `rootfs`; this
 * is for a bundle that several containers use, or that is kept when this program ends.
 *
 * @throws TypeError or RangeError for options that make no sense; the system's error when the folder cannot be made.
 * @example
 * await using bundle = await createBundle({ rootfs: "/srv/rootfs", args: ["sleep", "10"] });
 * const container = await client.v0.containers.start({ bundle: bundle.path });
 * await container.wait();
 */
export async function createBundle(options: BundleOptions): Promise<Bundle> {
  checkOptions(options, bundleChecks);
  return makeBundle(options);
}

/** {@link createBundle} for options that have been checked. @param prefix of the folder's name */
export async function makeBundle(options: BundleOptions, prefix = "ctr-bundle-"): Promise<Bundle> {
  // First: what is wrong with the options leaves no folder.
  const spec = specOf(options);
  const path = await mkdtemp(join(resolve(options.bundleDir ?? tmpdir()), prefix));
  const bundle = new Bundle(path, spec);
  try {
    await writeFile(join(path, CONFIG_FILE), JSON.stringify(spec), { mode: 0o600 });
  } catch (error) {
    // That it cannot be removed as well is not what went wrong first.
    await bundle.remove().catch(() => {});
    throw error;
  }
  return bundle;
}
