import koffi from "koffi";
import { libc, systemError } from "./libc.js";

const ioctl = libc.func("int ioctl(int fd, unsigned long request, int argument)");
const lseek = libc.func("long lseek(int fd, long offset, int whence)");
const FICLONE = 0x40049409;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/** Has a file share all its data with an empty one, where the file system can: false where it can't. @throws a system error */
export function cloneFile(source: number, target: number): boolean {
  if (ioctl(target, FICLONE, source) === 0) return true;
  const errno = koffi.errno();
  const { EOPNOTSUPP, ENOTTY, EXDEV, EINVAL, ENOSYS } = koffi.os.errno;
  if ([EOPNOTSUPP, ENOTTY, EXDEV, EINVAL, ENOSYS].includes(errno)) return false;
  throw systemError("ioctl FICLONE", undefined, errno);
}

/** The first part of a file, from `offset`, that is no hole; undefined: there is none. In bytes. @throws a system error */
export function nextData(fd: number, offset: number): { begin: number; end: number } | undefined {
  const begin = Number(lseek(fd, offset, SEEK_DATA));
  if (begin < 0) {
    const errno = koffi.errno();
    if (errno === koffi.os.errno.ENXIO) return undefined;
    throw systemError("lseek", undefined, errno);
  }
  const end = Number(lseek(fd, begin, SEEK_HOLE));
  if (end < 0) throw systemError("lseek");
  return { begin, end };
}
