/**
 * The invariants between two kills: what State says is what the events told, what the runtime lists and what runs, and nothing else is
 * there.
 */

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { wire } from "../harness/api.js";
import type { TestDaemon } from "../harness/daemon.js";
import { findLeftovers, type Leftovers } from "../harness/leftovers.js";
import { isRunning } from "../harness/processes.js";
import { sleep } from "../harness/wait.js";
import type { Ledger } from "./ledger.js";

/** Ids of tasks of namespaces on the same daemon, which are not looked at here. */
type TaskIds = ReadonlySet<string>;

/** Everything that does not fit together at this moment; empty when all does. */
async function contradictions(daemon: TestDaemon, ledger: Ledger, tasks: TaskIds): Promise<string[]> {
  const found: string[] = [];
  for (const life of ledger.lives.values()) {
    if (life.acknowledged && !life.started) found.push(`${life.id}: no start event came`);
    if (life.running && life.mustEnd) found.push(`${life.id}: no exit event came (${ledger.history(life.id)})`);
    for (const exec of life.execs.values()) {
      if (exec.acknowledged && !exec.started) found.push(`${life.id} ${exec.pid}: no start event came`);
      if (exec.running && exec.mustEnd) found.push(`${life.id} ${exec.pid}: no exit event came`);
    }
  }
  const { containers } = await daemon.api.state();
  const running = ledger.running;
  compare(found, "State", ids(containers), "the events", running.map(({ id }) => id).sort());
  for (const container of containers) {
    const life = ledger.lives.get(container.id);
    if (life === undefined) continue;
    const names = container.processes.map(({ pid }) => pid).sort();
    compare(found, `State of ${container.id}`, names, "the events", life.runningProcesses);
    if (container.status === "paused" && life.paused) {
      // Left so by the daemon's death. Nothing in it ends while it is paused.
      await daemon.api.updateContainer({ id: container.id, status: "running" });
      found.push(`${container.id}: was still paused`);
    } else if (container.status !== "running") found.push(`${container.id}: is ${container.status}`);
    if (container.labels.join() !== "load") found.push(`${container.id}: has the labels ${container.labels}`);
  }
  found.push(...strangers(daemon, containers, tasks));
  return found;
}

const ids = (containers: wire.Container[]) => containers.map(({ id }) => id).sort();

function compare(found: string[], one: string, ones: string[], other: string, others: string[]): void {
  if (ones.join() !== others.join()) found.push(`${one}: [${ones.join(", ")}], but ${other}: [${others.join(", ")}]`);
}

const baseName = (path: string) => path.slice(path.lastIndexOf("/") + 1);

/** What is on the machine and not in State, and the other way round. */
function strangers(daemon: TestDaemon, containers: wire.Container[], tasks: TaskIds): string[] {
  const found: string[] = [];
  const { dir, stateDir, pid } = daemon;
  const left = withoutTasks(findLeftovers({ dir, stateDir, pid }), tasks);
  const listed = ids(containers);
  compare(found, "the runtime lists", left.runtime.map(baseName).sort(), "State", listed);
  compare(found, "there are cgroups of", [...new Set(left.cgroups.map(baseName))].sort(), "State", listed);
  compare(found, "the state directory holds", left.state.sort(), "State", listed);
  for (const path of left.mounts) found.push(`mount: ${path}`);
  const shims = new Map<string, number>();
  const known = new Set<number>();
  for (const { id, processes, pids } of containers) {
    for (const inside of pids) known.add(inside);
    const names = processes.map((process) => process.pid).sort();
    compare(found, `the directory of ${id} holds`, directories(join(stateDir, id)), "State", names);
    for (const process of processes) {
      shims.set(join(stateDir, id, process.pid), 0);
      if (!isRunning(process.systemPid)) found.push(`${id} ${process.pid}: ${process.systemPid} does not run`);
      if (!pids.includes(process.systemPid))
        found.push(`${id} ${process.pid}: ${process.systemPid} is not among its pids`);
    }
  }
  for (const process of left.processes) {
    if (known.has(process.pid)) continue;
    // What a killed exec leaves goes to its container's init, which may be a program that reaps nobody.
    if (process.state === "Z" && known.has(process.parent)) continue;
    const count = shims.get(process.directory);
    if (count !== undefined) shims.set(process.directory, count + 1);
    else found.push(`process ${process.pid} (${process.state}, child of ${process.parent}): ${process.command}`);
  }
  for (const [directory, count] of shims) if (count !== 1) found.push(`${count} shims in ${directory}`);
  return found;
}

/** What is there of others than tasks: of these neither files, mounts and cgroups, nor processes with what descends from them. */
function withoutTasks(left: Leftovers, tasks: TaskIds): Leftovers {
  if (tasks.size === 0) return left;
  const isTasks = (path: string) => path.split("/").some((name) => tasks.has(name));
  const ofOthers = (paths: string[]) => paths.filter((path) => !isTasks(path));
  const { runtime, cgroups, state, mounts } = left;
  const excluded = new Set<number>();
  for (let before = -1; before !== excluded.size; ) {
    before = excluded.size;
    for (const { pid, parent, directory, cgroups, command } of left.processes)
      if (excluded.has(parent) || [directory, ...cgroups, ...command.split(" ")].some(isTasks)) excluded.add(pid);
  }
  return {
    ...{ runtime: ofOthers(runtime), cgroups: ofOthers(cgroups), state: ofOthers(state), mounts: ofOthers(mounts) },
    processes: left.processes.filter(({ pid }) => !excluded.has(pid)),
  };
}

function directories(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
      .sort();
  } catch {
    return [];
  }
}

/** What `runc list` says against the events. */
function runtimeList(dir: string, ledger: Ledger): string[] {
  const found: string[] = [];
  const { stdout, status, stderr } = spawnSync("runc", ["list", "--format", "json"], { encoding: "utf8" });
  // It fails when a container of somebody else goes away meanwhile.
  if (status !== 0) return [`runc list: exit status ${status}: ${stderr}`];
  const containers = (JSON.parse(stdout) ?? []) as { id: string; status: string }[];
  const listed = containers
    .filter(({ id }) => id.startsWith(`${baseName(dir)}-`))
    .map(({ id, status }) => `${id} ${status}`)
    .sort();
  const running = ledger.running.map(({ id }) => `${id} running`).sort();
  compare(found, "runc list", listed, "the events", running);
  return found;
}

/** Events that are stored, but have not arrived yet: they may be about more than State shows now. */
async function unseen(daemon: TestDaemon, ledger: Ledger): Promise<string[]> {
  const stored = daemon.api.subscribe({ timestamp: ledger.resumeFrom, storedOnly: true });
  await stored.ended;
  return stored.events.map(({ type, id, pid }) => `event ${type} ${id} ${pid}: has not arrived`);
}

/** In ms: how long the daemon may take until everything fits together: no measure of it, the machine may be busy. */
const CHECK_TIMEOUT = 30_000;

/**
 * Waits until everything fits together.
 * @returns what does not, after `timeout` ms
 */
export async function check(
  daemon: TestDaemon,
  ledger: Ledger,
  { timeout = CHECK_TIMEOUT, tasks = new Set() }: { timeout?: number | undefined; tasks?: TaskIds | undefined } = {},
): Promise<string[]> {
  const end = performance.now() + timeout;
  for (;;) {
    let found: string[];
    try {
      found = await contradictions(daemon, ledger, tasks);
    } catch (error) {
      found = [`State: ${(error as Error).message}`];
    }
    if (found.length === 0) found = runtimeList(daemon.dir, ledger);
    if (found.length === 0) found = await unseen(daemon, ledger);
    if (found.length === 0) break;
    if (performance.now() > end) return found;
    await sleep(15);
  }
  ledger.settle();
  return [];
}
