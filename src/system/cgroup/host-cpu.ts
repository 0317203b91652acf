import { readFileSync } from "node:fs";

/** Of a clock tick as the kernel reports times to programs: USER_HZ is 100 on every architecture that Node runs on. */
export const NANOSECONDS_PER_TICK = 10_000_000n;

/** What all CPUs of the host spent since boot, idle time included; nanoseconds. Docker's CPU percentage is a share of it. */
export function hostCpuTime(): bigint {
  return parseHostCpuTime(readFileSync("/proc/stat", "latin1"));
}

/**
 * The first seven columns (user … softirq) of the `cpu` line of a /proc/stat, summed. Not the later ones: steal is no time of this
 * host, and guest time is in user already.
 */
export function parseHostCpuTime(text: string): bigint {
  const [, ...columns] = text.slice(0, text.indexOf("\n")).trim().split(/\s+/);
  return columns.slice(0, 7).reduce((sum, ticks) => sum + BigInt(ticks), 0n) * NANOSECONDS_PER_TICK;
}
