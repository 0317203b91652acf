import { ContainerdError } from "../errors/containerd-error.js";
import { findInRootfs } from "./rootfs-file.js";

interface Mounted {
  destination: string;
  /** The folder of the host that is seen there; undefined for a file system of the container's own. */
  source?: string | undefined;
}

/**
 * Sees to it that nothing has to be made for a container in a folder of the host, which others may use as well: a runtime makes what is
 * missing.
 *
 * @param systemMounts where file systems of the container's own are, whatever is below them
 * @param mounts in their order
 * @throws ContainerdError `bad-mount`, `bad-cwd`
 */
export function checkMountPoints(
  rootfs: string,
  systemMounts: readonly Mounted[],
  mounts: readonly Mounted[],
  cwd: string,
): void {
  const before: Mounted[] = [...systemMounts];
  for (const mount of mounts) {
    const found = requireThere(rootfs, before, mount.destination, "bad-mount", "where something is to be mounted");
    before.push(mount, { ...mount, destination: found });
  }
  requireThere(rootfs, before, cwd, "bad-cwd", "where the command is to work");
}

/** @returns the path without links, as far as that is known */
function requireThere(
  rootfs: string,
  mounts: readonly Mounted[],
  path: string,
  kind: "bad-mount" | "bad-cwd",
  what: string,
): string {
  // The last one covers those before it.
  const cover = mounts.findLast(({ destination }) => isBelow(path, destination));
  if (cover !== undefined && cover.source === undefined) return path;
  const folder = cover?.source ?? rootfs;
  const found = findInRootfs(folder, cover === undefined ? path : path.slice(cover.destination.length));
  if (found !== "") return (cover === undefined && found) || path;
  throw new ContainerdError(
    "INVALID_ARGUMENT",
    `${path}, ${what}, is not there in ${folder}: make it there first, since it would be made on the host, for all who use that folder`,
    { kind },
  );
}

function isBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith("/") ? folder : `${folder}/`);
}
