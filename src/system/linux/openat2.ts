import koffi from "koffi";
import { libc, systemError } from "./libc.js";

const call = libc.func("long syscall(long number, long directory, const uint8_t *path, const uint8_t *how, long size)");
/** The same on every architecture. */
const SYS_openat2 = 437;
const RESOLVE_NO_XDEV = 0x01;
const RESOLVE_NO_MAGICLINKS = 0x02;
const RESOLVE_NO_SYMLINKS = 0x04;
const RESOLVE_BENEATH = 0x08;
const RESOLVE_IN_ROOT = 0x10;
/** struct open_how: flags, mode, resolve. */
const how = new BigUint64Array(3);
const howBytes = Buffer.from(how.buffer);
/** The kernel can't tell whether `..` leads out while somebody renames directories: how often it is asked again. */
const TRIES = 1000;

/** As long as the kernel takes a path to be, in bytes, with the zero at its end. */
const LONGEST = 4096;
const pathBytes = Buffer.alloc(LONGEST);

/**
 * Opens what is at a path below a directory, which is the root for whatever the path and symbolic links in it lead to: nothing outside of
 * it is ever reached, whoever changes what is there meanwhile. Links of /proc that are no paths lead nowhere.
 * @param root descriptor of a directory
 * @param path its characters are bytes
 * @param flags of open(2), to which O_CLOEXEC is added; with O_NOFOLLOW the last part is no link that is followed
 * @throws a system error: ENOSYS before Linux 5.6
 */
export function openInRoot(root: number, path: string, flags: number): number {
  return open(root, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

/**
 * As {@link openInRoot}, while this thread goes on: the file system may be one that does not answer.
 * @param path text
 */
export async function openInRootAside(root: number, path: string, flags: number): Promise<number> {
  const [pathOwn, howOwn] = [Buffer.from(`${path || "."}\0`), Buffer.alloc(howBytes.length)];
  howOwn.writeBigUInt64LE(BigInt(flags | O_CLOEXEC), 0);
  howOwn.writeBigUInt64LE(BigInt(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS), 16);
  for (let tried = 1; ; tried++) {
    const { fd, errno } = await new Promise<{ fd: number; errno: number }>((resolve, reject) => {
      call.async(SYS_openat2, root, pathOwn, howOwn, howOwn.length, (error: unknown, result: number | bigint) => {
        // What is asked for right here is the errno of this very call.
        if (error) reject(error);
        else resolve({ fd: Number(result), errno: koffi.errno() });
      });
    });
    if (fd >= 0) return fd;
    const isOver = errno !== koffi.os.errno.EAGAIN && errno !== koffi.os.errno.EINTR;
    if (isOver || tried >= TRIES) throw systemError("openat2", path.slice(0, MAX_SHOWN), errno);
  }
}

/**
 * Opens what is in a directory, on the same mount and by no link.
 * @throws a system error: EXDEV where something else is mounted, ELOOP for a symbolic link
 */
export function openBeneath(directory: number, name: string, flags: number): number {
  return open(directory, name, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
}

function open(directory: number, path: string, flags: number, resolve: number): number {
  if (path.length >= LONGEST) throw systemError("openat2", shown(path), koffi.os.errno.ENAMETOOLONG);
  how[0] = BigInt(flags | O_CLOEXEC);
  how[2] = BigInt(resolve);
  const end = pathBytes.write(path === "" ? "." : path, "latin1");
  pathBytes[end] = 0;
  for (let tried = 1; ; tried++) {
    const fd = Number(call(SYS_openat2, directory, pathBytes, howBytes, howBytes.length));
    if (fd >= 0) return fd;
    const errno = koffi.errno();
    if ((errno === koffi.os.errno.EAGAIN || errno === koffi.os.errno.EINTR) && tried < TRIES) continue;
    throw systemError("openat2", shown(path), errno);
  }
}

const O_CLOEXEC = 0o2000000;

/** In characters: how much of a path an error quotes. */
const MAX_SHOWN = 300;

function shown(path: string): string {
  return Buffer.from(path.slice(0, MAX_SHOWN), "latin1").toString();
}
