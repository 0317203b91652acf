import { bootTime } from "./clock.js";

/** In ms: how far apart the clock ticks of /proc are. USER_HZ is 100 on everything that Node runs on. */
const TICK = 10;

/**
 * In ms, to 10 ms: how long ago a process was started; undefined when that is unknown.
 * @param startTime field 22 of /proc/<pid>/stat: clock ticks after boot
 */
export function processAge(startTime: string): number | undefined {
  if (!/^\d+$/.test(startTime)) return undefined;
  return Math.max(0, bootTime() - Number(startTime) * TICK);
}
