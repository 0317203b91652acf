import { readFileSync } from "node:fs";
import { withReserve } from "./reserved-descriptors.js";

let known: string | undefined;

/** Which boot of the machine this is: pids, start times and inodes of cgroups count in one. Throws a system error. */
export function bootId(): string {
  known ??= withReserve(() => readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim());
  return known;
}
