/** JavaScript bundles: one file for each program is what keeps their start fast. */
import { type BuildOptions, build } from "esbuild";
import { replaceFile, withoutPackages } from "./files.js";
import { commit, version } from "./version.js";

// koffi and lmdb are native; lmdb, re2js and smol-toml are loaded at their first use; grpc-js needs its proto-loader for channelz alone,
// which nobody here serves.
export const EXTERNAL = ["koffi", "lmdb", "re2js", "smol-toml", "@grpc/proto-loader"];

/** Writes the bundle of `entry` to `outfile`; resolves with the sources that are in it, without those of packages. */
export async function bundle(entry: string, outfile: string, options: BuildOptions, mode?: number): Promise<string[]> {
  const { outputFiles, metafile } = await build({
    bundle: true,
    platform: "node",
    target: "node20",
    format: "esm",
    legalComments: "none",
    ...options,
    define: {
      CONTAINERD_TS_VERSION: JSON.stringify(version()),
      CONTAINERD_TS_COMMIT: JSON.stringify(commit()),
      ...options.define,
    },
    entryPoints: [entry],
    outfile,
    metafile: true,
    write: false,
  });
  replaceFile(outfile, outputFiles[0]!.contents, mode);
  return withoutPackages(Object.keys(metafile.inputs));
}
