import koffi from "koffi";
import { libc, systemError } from "./libc.js";

const llistxattr = libc.func("long llistxattr(const uint8_t *path, _Out_ uint8_t *list, size_t size)");
const lgetxattr = libc.func(
  "long lgetxattr(const uint8_t *path, const uint8_t *name, _Out_ uint8_t *value, size_t size)",
);

const listxattr = libc.func("long listxattr(const uint8_t *path, _Out_ uint8_t *list, size_t size)");
const getxattr = libc.func(
  "long getxattr(const uint8_t *path, const uint8_t *name, _Out_ uint8_t *value, size_t size)",
);

const setxattr = libc.func(
  "int setxattr(const uint8_t *path, const uint8_t *name, const uint8_t *value, size_t size, int flags)",
);

/** As large as the kernel allows a list and a value to be, in bytes. */
const LARGEST = 1 << 16;
let buffer: Buffer | undefined;

/**
 * The extended attributes of a file by their names, whose characters are bytes; of a symbolic link its own. None where the file system has
 * none at all.
 * @throws a system error
 */
export function extendedAttributes(path: Buffer): Map<string, Buffer> {
  return read(path, llistxattr, lgetxattr);
}

/** As {@link extendedAttributes}, of an open file, also of one that was opened as a place only. */
export function attributesOfOpened(fd: number): Map<string, Buffer> {
  return read(Buffer.from(`/proc/self/fd/${fd}`), listxattr, getxattr);
}

function read(path: Buffer, list: typeof listxattr, get: typeof getxattr): Map<string, Buffer> {
  buffer ??= Buffer.allocUnsafe(LARGEST);
  const file = Buffer.concat([path, Buffer.alloc(1)]);
  const attributes = new Map<string, Buffer>();
  const length = Number(list(file, buffer, LARGEST));
  if (length < 0) {
    if (koffi.errno() === koffi.os.errno.EOPNOTSUPP) return attributes;
    throw systemError("llistxattr", path.toString());
  }
  for (const name of buffer.toString("latin1", 0, length).split("\0").slice(0, -1)) {
    const size = Number(get(file, Buffer.from(`${name}\0`, "latin1"), buffer, LARGEST));
    if (size < 0) {
      // Listed, but not there: removed meanwhile, or of a kind that only shows itself in lists.
      if (koffi.errno() === koffi.os.errno.ENODATA) continue;
      throw systemError("lgetxattr", path.toString());
    }
    attributes.set(name, Buffer.from(buffer.subarray(0, size)));
  }
  return attributes;
}

/** Of an open file, also of one that was opened as a place only. @throws a system error */
export function setAttributeOfOpened(fd: number, name: string, value: Buffer): void {
  const path = Buffer.from(`/proc/self/fd/${fd}\0`);
  const given = value.length === 0 ? Buffer.alloc(1) : value;
  if (setxattr(path, Buffer.from(`${name}\0`, "latin1"), given, value.length, 0) !== 0)
    throw systemError("setxattr", name);
}
