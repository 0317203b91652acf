import { chownSync, mkdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Mount } from "../../system/mount/mount.js";
import { overlayMount, upperOf } from "../../system/mount/overlay.js";

/** In the bundle of a container that has no layer of its own: where its runtime makes what it mounts over. */
const UPPER = "upper";
const WORK = "work";

/** What a container's processes see as their root. */
export interface RootFileSystem {
  mounts: readonly Mount[];
  /** Whether all of them are of our own directories: they are mounted in this process then. */
  isOurs: boolean;
  /** Puts what it needs into the task's bundle. */
  fill(bundle: string): void;
}

/** A directory of the host as it is. */
export const DIRECTORY_AS_ROOT: RootFileSystem = { mounts: [], isOurs: true, fill: () => {} };

/**
 * A directory of the host below a snapshot of the container's own. The topmost directory is that of the snapshot: root's, whosever the
 * host's is.
 */
export function directoryBelow(mounts: readonly Mount[]): RootFileSystem {
  return { mounts, isOurs: false, fill: () => {} };
}

/**
 * Layers that nobody writes to. Only the runtime gets to what is above them: it makes files and directories to mount over.
 * @param layers the topmost first
 * @param bundle the path of the task's bundle, once it is there
 */
export function layersAsRoot(layers: readonly string[], bundle: string): RootFileSystem {
  const mount = overlayMount(layers, { upper: join(bundle, UPPER), work: join(bundle, WORK) });
  return {
    mounts: [mount],
    isOurs: true,
    fill(made) {
      const { mode, uid, gid } = statSync(layers[0]!);
      mkdirSync(join(made, UPPER), { mode: mode & 0o7777 });
      chownSync(join(made, UPPER), uid, gid);
      mkdirSync(join(made, WORK), { mode: 0o700 });
    },
  };
}

/**
 * A snapshot of the container's own.
 * @param isShortLived it goes with the container: nothing of it has to be on the disk when the machine loses its power
 */
export function snapshotAsRoot(mounts: readonly Mount[], isShortLived: boolean): RootFileSystem {
  const [mount] = mounts;
  const upper = mount && upperOf(mount);
  if (!isShortLived || mount === undefined || upper === undefined) return { mounts, isOurs: true, fill: () => {} };
  const work = mount.options.find((option) => option.startsWith("workdir="))!.slice("workdir=".length);
  // The kernel's mark of an overlay that was not written to the disk: it mounts no other over it.
  const clear = () => rmSync(join(work, "work", "incompat"), { recursive: true, force: true });
  return { isOurs: true, mounts: [{ ...mount, options: ["volatile", ...mount.options] }], fill: clear };
}
