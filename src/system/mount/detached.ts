import { closeSync } from "node:fs";
import { hasCode, libc, systemError } from "../linux/libc.js";
import { mountNow, unmountNow } from "./kernel-mount.js";
import { overlayMount, type Upper } from "./overlay.js";

const fsopen = libc.func("long syscall(long number, const char *type, unsigned int flags)");
const fsconfig = libc.func(
  "long syscall(long number, int fd, unsigned int command, const char *key, const char *value, int aux)",
);
const fsmount = libc.func("long syscall(long number, int fd, unsigned int flags, unsigned int attributes)");
const openTree = libc.func("long syscall(long number, int dir, const char *path, unsigned int flags)");
const mountSetattr = libc.func(
  "long syscall(long number, int dir, const char *path, unsigned int flags, const uint8_t *attributes, size_t size)",
);

/** The same on every architecture; since Linux 5.2, the last since 5.12. */
const SYS_open_tree = 428;
const SYS_fsopen = 430;
const SYS_fsconfig = 431;
const SYS_fsmount = 432;
const SYS_mount_setattr = 442;
const CLOEXEC = 1;
const FSCONFIG_SET_STRING = 1;
const FSCONFIG_CMD_CREATE = 6;
const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const AT_RECURSIVE = 0x8000;
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;
const MOUNT_ATTR_RDONLY = 1;

/** How the kernel is told of lower directories: one at a time (since Linux 6.5, as many as it can stack), or at a place in the tree. */
export type OverlayWay = "detached" | "place";

/**
 * Directories as one that is mounted nowhere: only who has the descriptor sees it, and with the descriptor it is gone, also when this
 * process is killed.
 * @param lower the topmost first; a single one without an upper directory is that directory itself
 * @param place an empty directory of our own, where a kernel before 6.5 mounts it for a moment; nobody else may use it meanwhile
 * @returns a descriptor of its root, to be closed; read-only without an upper directory
 * @throws a system error that names what the kernel does not take
 */
export function detachedOverlay(
  lower: readonly string[],
  { upper, place, way = "detached" }: { upper?: Upper | undefined; place: string; way?: OverlayWay },
): number {
  if (upper === undefined && lower.length === 1) return detachedBind(lower[0]!, { readOnly: true, recursive: false });
  const { options } = overlayMount(lower, upper);
  if (way === "detached") {
    try {
      return created(lower, options);
    } catch (error) {
      // A kernel that does not know lowerdir+; or one that says so of what is wrong in earnest, and will again.
      if (!hasCode(error, "EINVAL")) throw error;
    }
  }
  mountNow("overlay", place, "overlay", 0, options.join());
  try {
    return clonedTree(place, false);
  } finally {
    unmountNow(place);
  }
}

function created(lower: readonly string[], options: readonly string[]): number {
  const context = Number(fsopen(SYS_fsopen, "overlay", CLOEXEC));
  if (context < 0) throw systemError("fsopen", "overlay");
  try {
    const set = (key: string, value: string) => {
      if (fsconfig(SYS_fsconfig, context, FSCONFIG_SET_STRING, key, value, 0) !== 0)
        throw systemError(`fsconfig ${key}`, value);
    };
    for (const directory of lower) set("lowerdir+", directory);
    for (const option of options) {
      const [name = "", value = ""] = splitOnce(option);
      if (name !== "lowerdir") set(name, value);
    }
    if (fsconfig(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, null, null, 0) !== 0)
      throw systemError("fsconfig", lower[0]);
    const isWritable = options.some((option) => option.startsWith("upperdir="));
    const fd = Number(fsmount(SYS_fsmount, context, CLOEXEC, isWritable ? 0 : MOUNT_ATTR_RDONLY));
    if (fd < 0) throw systemError("fsmount", "overlay");
    return fd;
  } finally {
    closeSync(context);
  }
}

function splitOnce(option: string): [string, string] {
  const end = option.indexOf("=");
  return [option.slice(0, end), option.slice(end + 1)];
}

/**
 * A directory once more, mounted nowhere, as above.
 * @param recursive whether what is mounted below it comes along
 * @returns a descriptor, to be closed
 * @throws a system error that names the directory
 */
export function detachedBind(
  directory: string,
  { readOnly, recursive }: { readOnly: boolean; recursive: boolean },
): number {
  const tree = clonedTree(directory, recursive);
  if (!readOnly) return tree;
  const attributes = Buffer.alloc(32);
  attributes.writeBigUInt64LE(BigInt(MOUNT_ATTR_RDONLY), 0);
  const flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
  if (mountSetattr(SYS_mount_setattr, tree, "", flags, attributes, attributes.length) === 0) return tree;
  const error = systemError("mount_setattr", directory);
  closeSync(tree);
  throw error;
}

function clonedTree(directory: string, recursive: boolean): number {
  const flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (recursive ? AT_RECURSIVE : 0);
  const tree = Number(openTree(SYS_open_tree, AT_FDCWD, directory, flags));
  if (tree < 0) throw systemError("open_tree", directory);
  return tree;
}
