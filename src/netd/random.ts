/** Bytes that nobody can guess. */

import * as ffi from "ffi";
import { O_RDONLY, open, read } from "../shim/syscalls/files";
import { SCRATCH_SIZE, scratch } from "../shim/syscalls/libc";

const POOL_SIZE = 256;

let device = -1;
let pool = "";
let at = 0;

/** Has the kernel's source at hand. Throws a message. */
export function openRandom(): void {
  device = open("/dev/urandom", O_RDONLY);
  if (device < 0 || POOL_SIZE > SCRATCH_SIZE) error("/dev/urandom can't be read", 0);
  const [a, b, c, d] = string.byte(randomBytes(4), 1, 4);
  math.randomseed(a + b * 2 ** 8 + c * 2 ** 16 + d * 2 ** 24);
}

/** So many of them. */
export function randomBytes(count: number): string {
  if (at + count > pool.length) {
    const got = read(device, scratch, POOL_SIZE);
    pool = ffi.string(scratch, math.max(got, 0));
    at = 0;
    if (got < count) error("/dev/urandom gives nothing", 0);
  }
  at += count;
  return string.sub(pool, at - count + 1, at);
}
