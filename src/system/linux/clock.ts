import { libc } from "./libc.js";

const clockGettime = libc.func("int clock_gettime(int clock, uint8_t *time)");
const time = Buffer.alloc(16);
const CLOCK_REALTIME = 0;
const CLOCK_BOOTTIME = 7;

/** Wall-clock time in nanoseconds since the epoch; Node's Date knows milliseconds only. */
export function now(): bigint {
  clockGettime(CLOCK_REALTIME, time);
  return time.readBigInt64LE(0) * 1_000_000_000n + time.readBigInt64LE(8);
}

/**
 * In ms: the time since the machine has booted, which no clock that is set changes, with what the machine slept. As /proc counts, which
 * Node's `os.uptime` opens a file for.
 */
export function bootTime(): number {
  clockGettime(CLOCK_BOOTTIME, time);
  return Number(time.readBigInt64LE(0)) * 1_000 + Math.round(Number(time.readBigInt64LE(8)) / 1_000_000);
}
