/** A copy of the built programs: a run of many minutes must not see a build that somebody else makes meanwhile. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { daemonProgram, netdProgram, repository, shimProgram } from "../harness/paths.js";
import { directoryPrefix } from "../harness/run-name.js";

/** Stand beside the daemon's program. */
const WORKERS = ["layer-worker.js", "file-worker.js"];

export interface PrivateBuild extends Disposable {
  readonly directory: string;
  readonly daemon: string;
  readonly shim: string;
}

export function copyBuild(): PrivateBuild {
  const directory = mkdtempSync(`${directoryPrefix()}bin-`);
  const bin = join(directory, "bin");
  mkdirSync(bin);
  const daemon = join(bin, "containerd.js");
  const shim = join(bin, "containerd-shim");
  copyFileSync(daemonProgram, daemon);
  copyFileSync(shimProgram, shim);
  copyFileSync(netdProgram, join(bin, basename(netdProgram)));
  for (const worker of WORKERS) copyFileSync(join(dirname(daemonProgram), worker), join(bin, worker));
  symlinkSync(join(repository, "node_modules"), join(directory, "node_modules"));
  return {
    directory,
    daemon,
    shim,
    [Symbol.dispose]() {
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
