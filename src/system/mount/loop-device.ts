import { closeSync, openSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import koffi from "koffi";
import { libc, systemError } from "../linux/libc.js";

const ioctl = libc.func("int ioctl(int fd, unsigned long request, ...)");

/** From linux/loop.h. */
const LOOP_SET_FD = 0x4c00;
const LOOP_CLR_FD = 0x4c01;
const LOOP_SET_STATUS64 = 0x4c04;
const LOOP_CONFIGURE = 0x4c0a;
const LOOP_CTL_GET_FREE = 0x4c82;
const LO_FLAGS_READ_ONLY = 1;
const LO_FLAGS_AUTOCLEAR = 4;
const LO_FLAGS_DIRECT_IO = 16;

/** Of struct loop_config: its size, and where in it struct loop_info64 is; of that its size and where lo_flags are. In bytes. */
const CONFIG_SIZE = 304;
const INFO_OFFSET = 8;
const INFO_SIZE = 232;
const FLAGS_OFFSET = 52;

/** So often another process may take the free device that the kernel has named. */
const ATTEMPTS = 100;

/**
 * Makes a block device of a file, to be read only. It is there until nobody has it open or mounted any more.
 * @param use gets its path; to mount it
 * @throws a system error
 */
export function withLoopDevice(file: string, use: (device: string) => void): void {
  const backing = openSync(file, "r");
  try {
    const { path, device } = attach(backing, file);
    try {
      use(path);
    } finally {
      closeSync(device);
    }
  } finally {
    closeSync(backing);
  }
}

function attach(backing: number, file: string): { path: string; device: number } {
  const control = openSync("/dev/loop-control", "r+");
  try {
    for (let attempt = 1; ; attempt++) {
      const number: number = ioctl(control, LOOP_CTL_GET_FREE);
      if (number < 0) throw systemError("ioctl", "/dev/loop-control");
      const path = `/dev/loop${number}`;
      const device = openSync(path, "r");
      const errno = configure(device, backing);
      if (errno === 0) return { path, device };
      closeSync(device);
      if (errno !== koffi.os.errno.EBUSY || attempt === ATTEMPTS) throw systemError("loop device for", file, errno);
    }
  } finally {
    closeSync(control);
  }
}

/** 0, or what it has failed with. */
function configure(device: number, backing: number): number {
  const config = Buffer.alloc(CONFIG_SIZE);
  config.writeUInt32LE(backing, 0);
  const info = config.subarray(INFO_OFFSET, INFO_OFFSET + INFO_SIZE);
  info.writeUInt32LE(LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO, FLAGS_OFFSET);
  if (ioctl(device, LOOP_CONFIGURE, "void *", config) === 0) return 0;
  const errno = koffi.errno();
  // Linux before 5.8 takes two calls for it.
  if (errno !== koffi.os.errno.EINVAL && errno !== koffi.os.errno.ENOTTY) return errno;
  if (ioctl(device, LOOP_SET_FD, "int", backing) !== 0) return koffi.errno();
  info.writeUInt32LE(LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR, FLAGS_OFFSET);
  if (ioctl(device, LOOP_SET_STATUS64, "void *", info) === 0) return 0;
  const failed = koffi.errno();
  ioctl(device, LOOP_CLR_FD);
  return failed;
}

/** The file that a loop device was made of; undefined for what is none. @param device its path */
export function backingFile(device: string): string | undefined {
  try {
    return readFileSync(`/sys/block/${basename(device)}/loop/backing_file`, "utf8").replace(/\n$/, "");
  } catch {
    return undefined;
  }
}
