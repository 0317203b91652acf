import { closeSync, openSync, statSync } from "node:fs";
import { openPidFd } from "../../system/linux/pidfd.js";
import { startTimeOf } from "../../system/linux/proc-stat.js";
import { withReserve } from "../../system/linux/reserved-descriptors.js";
import type { Process } from "../tasks/process.js";
import { refused } from "./network-place.js";

/**
 * The network namespace of a process, and of no other one that may have got its pid.
 * @throws Failure (failed-precondition) when it has ended, or has none of its own
 */
export function openNetworkOf({ systemPid, startTime }: Process): {
  network: number;
  process: number;
  close: () => void;
} {
  const ended = () =>
    refused("failed-precondition", "the container has ended before it was connected with its networks");
  let process: number | undefined;
  let network: number | undefined;
  const close = () => {
    for (const fd of [process, network]) if (fd !== undefined) closeSync(fd);
  };
  try {
    process = withReserve(() => openPidFd(systemPid));
    network = withReserve(() => openSync(`/proc/${systemPid}/ns/net`, "r"));
    // The first descriptor holds one process; while that is there, nobody else has its pid.
    if (startTimeOf(systemPid) !== startTime) throw ended();
    const own = statSync("/proc/self/ns/net");
    const found = statSync(`/proc/self/fd/${network}`);
    if (own.ino === found.ino && own.dev === found.dev)
      throw refused("failed-precondition", "the container has no network namespace of its own");
    return { network, process, close };
  } catch (error) {
    close();
    throw error;
  }
}
