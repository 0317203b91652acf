import { libc } from "./libc.js";

const clockGettime = libc.func("int clock_gettime(int clock, uint8_t *time)");
const time = Buffer.alloc(16);
const CLOCK_REALTIME = 0;

/** Wall-clock time in nanoseconds since the epoch; Node's Date knows milliseconds only. */
export function now(): bigint {
  clockGettime(CLOCK_REALTIME, time);
  return time.readBigInt64LE(0) * 1_000_000_000n + time.readBigInt64LE(8);
}
