import { mkdirSync, rmdirSync } from "node:fs";
import { goQuote } from "../../contract/go/quote.js";
import { errorText, hasCode } from "../../system/linux/libc.js";
import { MS_NODEV, MS_NOEXEC, MS_NOSUID, mountNow, unmountAside } from "../../system/mount/kernel-mount.js";
import { type Mount, mount, unmount } from "../../system/mount/mount.js";
import { mountOverlayNow, upperOf } from "../../system/mount/overlay.js";
import { Failure } from "../failure/failure.js";

/** In ms: how long one mount may take. */
const TIMEOUT = 10_000;

/** Throws Failure (invalid-argument) for what can't be mounted as the root file system of a task. */
export function checkMounts(mounts: readonly Mount[]): void {
  for (const { type, source, target, options } of mounts) {
    const refuse = (value: string, why: string) =>
      new Failure("invalid-argument", "invalid-value", { name: "mount of the root file system", value, why });
    // What it leads to may be a link in what was mounted before.
    if (target !== "") throw refuse(target, "a target below the root file system is not supported");
    for (const value of [type, source, ...options]) if (value.includes("\0")) throw refuse(value, "it has a NUL in it");
  }
}

/**
 * Mounts file systems at a directory, each over the last.
 * @param isOurs they are overlays of our own layers, which keep nobody waiting
 * @param signal ends the attempt
 * @throws Failure (internal, deadline-exceeded) that names the mount, or the signal's reason; those before are there then, to be unmounted
 */
export async function mountAll(
  mounts: readonly Mount[],
  target: string,
  isOurs: boolean,
  signal: AbortSignal,
): Promise<void> {
  for (const entry of mounts) {
    if (isOurs && mountedNow(entry, target)) continue;
    const limit = AbortSignal.timeout(TIMEOUT);
    try {
      await mount(entry, target, AbortSignal.any([signal, limit]));
    } catch (error) {
      signal.throwIfAborted();
      const name = `${entry.type || "file system"} ${goQuote(entry.source)}`;
      throw limit.aborted
        ? new Failure("deadline-exceeded", "mount-timeout", { mount: name, timeout: TIMEOUT })
        : new Failure("internal", "mount-failed", { mount: name, why: errorText(error) }, { cause: error });
    }
  }
}

/** False for one that only mount(8) can mount. @throws as {@link mountAll} */
function mountedNow(entry: Mount, target: string): boolean {
  try {
    return mountOverlayNow(entry, target);
  } catch (error) {
    const name = `${entry.type} ${goQuote(entry.source)}`;
    throw new Failure("internal", "mount-failed", { mount: name, why: errorText(error) }, { cause: error });
  }
}

/**
 * Unmounts all that is mounted at a directory of ours, the last first, and removes the directory: then nothing that is still under way can
 * be mounted there.
 * @param isQuick see {@link isQuickToUnmount}
 * @throws a system error, an Error with the words of umount(8), or a TimeoutError
 */
export async function unmountAll(target: string, isQuick = false): Promise<void> {
  while (isMounted(target)) {
    if (isQuick) await unmountAside(target);
    else await unmount(target, AbortSignal.timeout(TIMEOUT));
  }
}

/**
 * Whether overlays of our own layers can be unmounted in this process. The kernel writes what is in the upper directory to its disk first,
 * which may take long: unless it is not asked to, or there is nothing but what a runtime has mounted over, in the task's own directory.
 */
export function isQuickToUnmount(mounts: readonly Mount[], directory: string): boolean {
  return mounts.every((entry) => {
    const upper = upperOf(entry);
    return upper === undefined || entry.options.includes("volatile") || upper.startsWith(`${directory}/`);
  });
}

/** Whether something is mounted there; the directory is gone when nothing is. That asks only the file system that the directory is in. */
function isMounted(directory: string): boolean {
  try {
    rmdirSync(directory);
  } catch (error) {
    if (hasCode(error, "EBUSY")) return true;
    if (!["ENOENT", "ENOTDIR", "ENOTEMPTY"].some((code) => hasCode(error, code))) throw error;
  }
  return false;
}

/**
 * Removes a directory. What is mounted in it keeps it there; then that is unmounted, so that the next try can succeed.
 * @param targets where something may be mounted
 * @throws what `remove` does
 */
export function removeWithMounts(targets: readonly string[], remove: () => void): void {
  try {
    remove();
  } catch (error) {
    if (hasCode(error, "EBUSY")) for (const target of targets) unmountAll(target).catch(() => {});
    throw error;
  }
}

/**
 * Mounts shared memory that several containers can have as their /dev/shm.
 * @param size in bytes
 * @param owner ids of the host
 * @throws Failure (internal)
 */
export function mountSharedMemory(target: string, size: number, { uid, gid }: { uid: number; gid: number }): void {
  try {
    mkdirSync(target, { mode: 0o700 });
    const flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    mountNow("shm", target, "tmpfs", flags, `mode=1777,size=${size},uid=${uid},gid=${gid}`);
  } catch (error) {
    throw new Failure("internal", "mount-failed", { mount: "tmpfs", why: errorText(error) }, { cause: error });
  }
}
