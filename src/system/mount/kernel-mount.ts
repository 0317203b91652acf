import koffi from "koffi";
import { libc, systemError } from "../linux/libc.js";

const mountCall = libc.func(
  "int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)",
);
const umount2 = libc.func("int umount2(const char *target, int flags)");

export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;
export const MS_BIND = 4096;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;

/**
 * Mounts by mount(2), in this process: only for what can't keep it waiting, as a file of our own on a local disk.
 * @param type "": what the flags need none for
 * @throws a system error that names the target
 */
export function mountNow(source: string, target: string, type: string, flags: number, options = ""): void {
  if (mountCall(source, target, type || null, flags, options || null) !== 0) throw systemError("mount", target);
}

/**
 * Takes what was mounted last at a directory out of the tree, at once: whoever still uses it goes on with it.
 * @throws a system error that names the directory
 */
export function unmountNow(target: string): void {
  if (umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) !== 0) throw systemError("umount", target);
}

/**
 * As {@link unmountNow}, while this thread goes on: the kernel waits until no processor looks at the mount any more, a millisecond or more.
 */
export async function unmountAside(target: string): Promise<void> {
  const errno = await new Promise<number>((resolve, reject) => {
    umount2.async(target, MNT_DETACH | UMOUNT_NOFOLLOW, (error: unknown, result: number) => {
      // What is asked for right here is the errno of this very call.
      if (error) reject(error);
      else resolve(result === 0 ? 0 : koffi.errno());
    });
  });
  if (errno !== 0) throw systemError("umount", target, errno);
}
