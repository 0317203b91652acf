/** What a daemon holds at one moment of a soak. */
import { readdirSync, readFileSync } from "node:fs";
import type { TestDaemon } from "../harness/daemon.js";
import { openDescriptors, processes } from "../harness/processes.js";

export interface Sample {
  /** Since the soak's beginning. */
  minutes: number;
  /** Of the daemon. */
  rssMegabytes: number;
  descriptors: number;
  /** Shims and what runs in containers. */
  processes: number;
  zombies: number;
  /** Entries of the state directory, events.log included. */
  entries: number;
  containers: number;
  /** Seen by the client so far. */
  events: number;
}

/** Taken while the daemon rests with the containers that the load has left running. */
export async function takeSample(daemon: TestDaemon, began: number, events: number): Promise<Sample> {
  const { containers } = await daemon.api.state();
  const all = processes();
  const own = all.filter(({ directory, command }) => `${directory} ${command}`.includes(daemon.dir));
  const status = readFileSync(`/proc/${daemon.pid}/status`, "utf8");
  return {
    minutes: (performance.now() - began) / 60_000,
    rssMegabytes: Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]) / 1000,
    descriptors: openDescriptors(daemon.pid).size,
    processes: own.length + containers.reduce((sum, { pids }) => sum + pids.length, 0),
    zombies: all.filter(({ state, parent }) => state === "Z" && parent === daemon.pid).length,
    entries: readdirSync(daemon.stateDir).length,
    containers: containers.length,
    events,
  };
}

export const HEADING = "minute    RSS MB  fds  processes  zombies  entries  containers    events";

export function line(sample: Sample): string {
  const { minutes, rssMegabytes, descriptors, processes, zombies, entries, containers, events } = sample;
  return [
    minutes.toFixed(1).padStart(6),
    rssMegabytes.toFixed(1).padStart(8),
    String(descriptors).padStart(3),
    String(processes).padStart(9),
    String(zombies).padStart(7),
    String(entries).padStart(7),
    String(containers).padStart(10),
    String(events).padStart(8),
  ].join("  ");
}
