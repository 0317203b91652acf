import { readFileSync, statfsSync } from "node:fs";
import { runCommand } from "../linux/child.js";
import { hasCode } from "../linux/libc.js";
import { findProgram } from "../linux/spawn.js";
import { MS_RDONLY, mountNow } from "./kernel-mount.js";
import { backingFile, withLoopDevice } from "./loop-device.js";
import type { MountPoint } from "./mountinfo.js";

/** What statfs(2) says of it. */
const MAGIC = 0xe0f5e1e2;

/** In ms: how long the kernel's module may take to be loaded. */
const MODPROBE_TIMEOUT = 10_000;

/** How the kernel gets at the file: itself, or as a block device. */
export type ErofsWay = "file" | "loop";

/**
 * Mounts an EROFS image, read-only.
 * @param way "file" is tried as "loop" where the kernel can't (before Linux 6.12)
 * @throws a system error
 */
export function mountErofs(file: string, target: string, way: ErofsWay = "file"): void {
  const mount = (source: string) => mountNow(source, target, "erofs", MS_RDONLY);
  if (way === "file") {
    try {
      mount(file);
      return;
    } catch (error) {
      if (!hasCode(error, "ENOTBLK")) throw error;
    }
  }
  withLoopDevice(file, mount);
}

/** Whether a directory is in one: a mount point of ours is then its root. */
export function isErofs(directory: string): boolean {
  try {
    return statfsSync(directory).type >>> 0 === MAGIC;
  } catch {
    return false;
  }
}

/** The image that is mounted; undefined for what is none. */
export function imageOf({ type, source }: MountPoint): string | undefined {
  if (type !== "erofs") return undefined;
  return source.startsWith("/dev/") ? backingFile(source) : source;
}

/**
 * Has the kernel load its module if it is not there. Whoever lets mount(2) do that stands still meanwhile.
 * @throws Error that names what the kernel lacks
 */
export async function requireErofs(): Promise<void> {
  if (isKnown()) return;
  const modprobe = findProgram("modprobe");
  const loaded =
    modprobe === undefined
      ? "modprobe is not installed"
      : (
          await runCommand(modprobe, ["modprobe", "erofs"], {
            env: [`PATH=${process.env.PATH}`],
            cwd: "/",
            signal: AbortSignal.timeout(MODPROBE_TIMEOUT),
          })
        ).output.trim();
  if (isKnown()) return;
  const why = loaded === "" ? "" : ` (${loaded})`;
  throw new Error(
    `this kernel has no EROFS, which layers of images are: it needs CONFIG_EROFS_FS, the module erofs${why}`,
  );
}

function isKnown(): boolean {
  return /\terofs$/m.test(readFileSync("/proc/filesystems", "utf8"));
}
