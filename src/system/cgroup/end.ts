import { readdirSync, rmdirSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { hasCode } from "../linux/libc.js";
import type { Cgroup } from "./cgroup.js";

/** In ms: how often killed processes are polled for their end. */
const INTERVAL = 10;

/**
 * Kills every process of a cgroup and waits for their ends.
 * @param timeout in ms: a process that the kernel holds (a hanging disk) does not end when it is killed
 * @returns whether none is left
 */
export async function endProcesses(cgroup: Cgroup, timeout: number): Promise<boolean> {
  const deadline = performance.now() + timeout;
  while (cgroup.pids().length > 0) {
    if (performance.now() > deadline) return false;
    cgroup.kill();
    await delay(INTERVAL);
  }
  return true;
}

/**
 * Removes cgroups, with those below them, that hold no process.
 * @returns whether none of them is left after `timeout` ms: a cgroup whose last process is just ending is busy
 */
export async function removeCgroups(directories: readonly string[], timeout: number): Promise<boolean> {
  const deadline = performance.now() + timeout;
  for (;;) {
    if (directories.map(removeTree).every(Boolean)) return true;
    if (performance.now() > deadline) return false;
    await delay(INTERVAL);
  }
}

/**
 * Removes a cgroup and those below it; false when some are left. No further check is needed: rmdir of a cgroup fails while it has
 * processes.
 */
function removeTree(directory: string): boolean {
  try {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      if (entry.isDirectory()) removeTree(`${directory}/${entry.name}`);
    }
    rmdirSync(directory);
    return true;
  } catch (error) {
    return hasCode(error, "ENOENT") || hasCode(error, "ENODEV");
  }
}
