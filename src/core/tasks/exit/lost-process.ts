/** What is done about a process that was to run, or has run, and that nobody can follow. */

import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { KILLED_STATUS, UNKNOWN_STATUS } from "../../../contract/shim/exit-status.js";
import { killDescendants } from "../../../system/linux/descendants.js";
import { isAlive } from "../../../system/linux/proc-stat.js";
import type { Container } from "../container.js";
import { INIT, Process } from "../process.js";
import { findShims, killShim } from "../shims/shim-process.js";
import type { Supervisor } from "../supervisor.js";

/** In ms: how often what an earlier daemon has left under way is looked at. */
export const WATCH_INTERVAL = 20;
/** In ms: how long a shim that knows that its daemon is gone gets to clean up by itself, and one that was killed to be gone. */
export const SHIM_PATIENCE = 2_000;

export function shimsOf(container: Container, name: string) {
  return findShims(join(container.directory, name), container.id, container.shim.name);
}

/** Waits until no shim works in a process directory any more; false when some still do after {@link SHIM_PATIENCE}. */
export async function shimsGone(container: Container, name: string): Promise<boolean> {
  const deadline = performance.now() + SHIM_PATIENCE;
  while (shimsOf(container, name).length > 0) {
    if (performance.now() > deadline) return false;
    await delay(WATCH_INTERVAL);
  }
  return true;
}

/** Kills the shims that work in a process directory, with their processes; false when there were none. */
export async function endShims(container: Container, name: string): Promise<boolean> {
  const shims = shimsOf(container, name);
  for (const shim of shims) {
    if (isAlive(shim.pid, shim.startTime)) await killDescendants(shim.pid);
    killShim(shim);
  }
  await shimsGone(container, name);
  return shims.length > 0;
}

/** The processes of a container whose start was told, and not their exit: by the event log, or, where that is lost, by the marks of it; the init last. */
export function owedExits(supervisor: Supervisor, container: Container): string[] {
  const running = supervisor.events.running(container.id);
  for (const name of container.processDirectories()) {
    const isMarked = (mark: string) => existsSync(join(container.directory, name, mark));
    if (!running.has(name)) running.set(name, isMarked("started") && !isMarked("reported"));
  }
  const owed = [...running.keys()].filter((name) => running.get(name));
  return [...owed.filter((name) => name !== INIT), ...owed.filter((name) => name === INIT)];
}

/**
 * Tells the exit of a process whose start was told: with the status that its shim has recorded, or as killed, or with one that says that nobody knows.
 * Nothing is told of one that nobody has heard of, or whose exit was told.
 */
export function tellEnd(supervisor: Supervisor, container: Container, name: string, killed: boolean): void {
  if (!owedExits(supervisor, container).includes(name)) return;
  const recorded = Process.readExitStatus(join(container.directory, name));
  const status = recorded ?? (killed ? KILLED_STATUS : UNKNOWN_STATUS);
  supervisor.log.warn({ id: container.id, pid: name, status }, "containerd: process was lost; its exit is told");
  supervisor.emit({ type: "exit", id: container.id, pid: name, status });
}
