import { closeSync } from "node:fs";
import { hasCode } from "../linux/libc.js";
import { openPidFd, signalPidFd } from "../linux/pidfd.js";
import type { Cgroup } from "./cgroup.js";

/** How many processes are held by a descriptor at a time. */
const ROUND = 32;

/** Sends a signal to every process of a cgroup, and to no other that has got the pid of one. Throws a system error. */
export function signalAll(cgroup: Cgroup, signal: number): void {
  const pids = cgroup.pids();
  for (let first = 0; first < pids.length; first += ROUND) {
    const held = new Map<number, number>();
    try {
      for (const pid of pids.slice(first, first + ROUND)) hold(pid, held);
      // Whoever is there while the descriptors hold them is who they mean.
      const there = new Set(cgroup.pids());
      for (const [pid, fd] of held) if (there.has(pid)) send(fd, signal);
    } finally {
      for (const fd of held.values()) closeSync(fd);
    }
  }
}

function hold(pid: number, held: Map<number, number>): void {
  unlessEnded(() => held.set(pid, openPidFd(pid)));
}

function send(fd: number, signal: number): void {
  unlessEnded(() => signalPidFd(fd, signal));
}

function unlessEnded(action: () => void): void {
  try {
    action();
  } catch (error) {
    if (!hasCode(error, "ESRCH")) throw error;
  }
}
