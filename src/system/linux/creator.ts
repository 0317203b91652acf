import koffi from "koffi";
import { libc, systemError } from "./libc.js";

// All of them, but for the last, are about the thread that calls alone; the ids' answer what was before, also when they change nothing.
const setfsuid = libc.func("uint32_t setfsuid(uint32_t uid)");
const setfsgid = libc.func("uint32_t setfsgid(uint32_t gid)");
const capget = libc.func("int capget(uint8_t *header, _Out_ uint8_t *sets)");
const capset = libc.func("int capset(uint8_t *header, const uint8_t *sets)");
const prctl = libc.func("int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)");

/** No id: asks without a change. */
const NONE = 0xffff_ffff;
const PR_SET_DUMPABLE = 4;
const CAPABILITY_VERSION = 0x2008_0522;
/** Effective, permitted and inheritable ones, 32 of each, twice. */
const sets = Buffer.alloc(24);
/** struct __user_cap_header_struct: the version, and 0 for this thread. */
const header = Buffer.alloc(8);

/**
 * Makes something in a file system as somebody else: who that is the kernel takes for the owner of what is made, and for nothing else. This
 * thread has the same capabilities as before meanwhile, so that it may do neither more nor less than it may anyway.
 *
 * For worker threads: one that can't become what it was ends at once.
 * @param make does no more than system calls of this thread
 * @throws what `make` throws; a system error
 */
export function makeAs<T>(uid: number, gid: number, make: () => T): T {
  header.writeUInt32LE(CAPABILITY_VERSION, 0);
  if (capget(header, sets) !== 0) throw systemError("capget");
  const ownUid: number = setfsuid(NONE);
  const ownGid: number = setfsgid(NONE);
  try {
    setfsgid(gid);
    setfsuid(uid);
    if (setfsuid(NONE) !== uid || setfsgid(NONE) !== gid)
      throw systemError("setfsuid", undefined, koffi.os.errno.EPERM);
    // With root's id went those capabilities that are about files.
    if (capset(header, sets) !== 0) throw systemError("capset");
    return make();
  } finally {
    setfsuid(ownUid);
    setfsgid(ownGid);
    // Where the thread is terminated meanwhile, which no `finally` sees, it ends as it is.
    const isBack = setfsuid(NONE) === ownUid && setfsgid(NONE) === ownGid && capset(header, sets) === 0;
    if (!isBack) process.exit(1);
    // The kernel takes a process that has been somebody else for a secret one: no core dumps, /proc/PID closed to its own user.
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
  }
}
