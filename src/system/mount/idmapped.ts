import { closeSync } from "node:fs";
import { libc, systemError } from "../linux/libc.js";

const openTree = libc.func("long syscall(long number, int dir, const char *path, unsigned int flags)");
const mountSetattr = libc.func(
  "long syscall(long number, int dir, const char *path, unsigned int flags, const uint8_t *attributes, size_t size)",
);
const moveMount = libc.func(
  "long syscall(long number, int from, const char *fromPath, int to, const char *toPath, unsigned int flags)",
);

/** The same on every architecture. */
const SYS_open_tree = 428;
const SYS_move_mount = 429;
const SYS_mount_setattr = 442;
const AT_FDCWD = -100;
const AT_EMPTY_PATH = 0x1000;
const OPEN_TREE_CLONE = 1;
const OPEN_TREE_CLOEXEC = 0o2000000;
const MOVE_MOUNT_F_EMPTY_PATH = 4;
const MOUNT_ATTR_RDONLY = 1n;
const MOUNT_ATTR_IDMAP = 0x100000n;

/**
 * Mounts a directory once more, where files belong to the ids of a user namespace: who is 0 on the disk is who 0 of the
 * namespace is outside of it. Linux 5.12 has it for some file systems, 5.19 for the lower directories of overlayfs, too.
 * @param userNamespace a descriptor
 * @param isReadOnly of a layer, which nobody writes to
 * @throws a system error that names the directory
 */
export function mountIdmapped(directory: string, target: string, userNamespace: number, isReadOnly = true): void {
  const tree: number = openTree(SYS_open_tree, AT_FDCWD, directory, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (tree < 0) throw systemError("open_tree", directory);
  try {
    const attributes = Buffer.alloc(32);
    attributes.writeBigUInt64LE(MOUNT_ATTR_IDMAP | (isReadOnly ? MOUNT_ATTR_RDONLY : 0n), 0);
    attributes.writeBigUInt64LE(BigInt(userNamespace), 24);
    if (mountSetattr(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, attributes, attributes.length) !== 0)
      throw systemError("mount_setattr", directory);
    if (moveMount(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) !== 0)
      throw systemError("move_mount", target);
  } finally {
    closeSync(tree);
  }
}
